from __future__ import annotations

import pytest

from libs.common.dns import DnsUnavailable, Mx, StaticResolver

RECORDS = {
    ("example.test", "MX"): [Mx(20, "b.example.test"), Mx(10, "a.example.test")],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx.example.test"],
}


async def test_a_missing_name_and_a_missing_record_are_told_apart() -> None:
    resolver = StaticResolver(RECORDS)

    nothing = await resolver.txt("example.test")
    nobody = await resolver.txt("other.test")

    assert (nothing.records, nothing.exists) == ((), True)
    assert (nobody.records, nobody.exists) == ((), False)


async def test_exchangers_come_by_ascending_preference() -> None:
    answer = await StaticResolver(RECORDS).mx("Example.TEST.")

    assert [mx.host for mx in answer.records] == ["a.example.test", "b.example.test"]


async def test_no_answer_is_not_an_empty_answer() -> None:
    with pytest.raises(DnsUnavailable):
        await StaticResolver(RECORDS, failing=["example.test"]).a("example.test")


async def test_an_address_has_names() -> None:
    assert (await StaticResolver(RECORDS).ptr("192.0.2.1")).records == ("mx.example.test",)
