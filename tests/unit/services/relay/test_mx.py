from __future__ import annotations

from typing import Any

import pytest

from libs.common.dns import Mx, StaticResolver
from services.relay.fate import Result
from services.relay.mx import MOST_ADDRESSES, MxRoute, RouteFailed
from services.relay.next_hop import NextHop

Records = dict[tuple[str, str], list[Any]]


def route(records: Records, failing: tuple[str, ...] = (), **options: Any) -> MxRoute:
    return MxRoute(StaticResolver(records, failing), "mail.example.test", **options)


async def failure(records: Records, domain: str, failing: tuple[str, ...] = ()) -> Any:
    with pytest.raises(RouteFailed) as failed:
        await route(records, failing).hops(domain)
    return failed.value.fate


async def test_hosts_are_tried_by_preference() -> None:
    found = await route(
        {
            ("far.test", "MX"): [Mx(20, "second.far.test"), Mx(10, "first.far.test")],
            ("first.far.test", "A"): ["1.1.1.1"],
            ("second.far.test", "A"): ["1.1.1.2"],
        }
    ).hops("far.test")

    assert found == [
        NextHop("first.far.test", 25, "1.1.1.1"),
        NextHop("second.far.test", 25, "1.1.1.2"),
    ]


async def test_hosts_of_equal_preference_share_the_load() -> None:
    records: Records = {("far.test", "MX"): [Mx(10, "a.far.test"), Mx(10, "b.far.test")]}
    for host, address in (("a", "1.1.1.1"), ("b", "1.1.1.2")):
        records[f"{host}.far.test", "A"] = [address]
    chosen = route(records)

    firsts = {(await chosen.hops("far.test"))[0].host for _ in range(64)}

    assert firsts == {"a.far.test", "b.far.test"}


async def test_both_kinds_of_addresses_stand_near_the_front() -> None:
    found = await route(
        {
            ("far.test", "MX"): [Mx(10, "mx.far.test")],
            ("mx.far.test", "A"): ["1.1.1.1"],
            ("mx.far.test", "AAAA"): ["2606:4700::1", "2606:4700::2"],
        }
    ).hops("far.test")

    assert [":" in hop.address for hop in found] == [True, False, True]


async def test_without_mx_records_the_domain_is_its_own_host() -> None:
    """RFC 5321 §5.1, the implicit MX."""
    found = await route({("far.test", "A"): ["1.1.1.1"]}).hops("far.test")

    assert found == [NextHop("far.test", 25, "1.1.1.1")]


async def test_an_mx_without_address_does_not_make_the_domain_a_host() -> None:
    records: Records = {
        ("far.test", "MX"): [Mx(10, "gone.far.test")],
        ("far.test", "A"): ["1.1.1.1"],
    }

    fate = await failure(records, "far.test")

    assert (fate.result, fate.status) == (Result.BOUNCED, "5.4.4")


async def test_a_null_mx_is_final() -> None:
    """RFC 7505."""
    records: Records = {("far.test", "MX"): [Mx(0, "")], ("far.test", "A"): ["1.1.1.1"]}

    fate = await failure(records, "far.test")

    assert (fate.result, fate.status) == (Result.BOUNCED, "5.1.10")


async def test_a_domain_that_does_not_exist_is_final() -> None:
    fate = await failure({}, "misspelt.test")

    assert (fate.result, fate.status) == (Result.BOUNCED, "5.1.2")
    assert "misspelt.test" in fate.text


@pytest.mark.parametrize("failing", ["far.test", "mx.far.test"])
async def test_no_answer_says_nothing_of_the_domain(failing: str) -> None:
    records: Records = {("far.test", "MX"): [Mx(10, "mx.far.test")]}

    fate = await failure(records, "far.test", (failing,))

    assert (fate.result, fate.status) == (Result.DEFERRED, "4.4.3")


async def test_one_host_without_answer_does_not_hide_the_others() -> None:
    records: Records = {
        ("far.test", "MX"): [Mx(10, "first.far.test"), Mx(20, "second.far.test")],
        ("second.far.test", "A"): ["1.1.1.2"],
    }

    found = await route(records, ("first.far.test",)).hops("far.test")

    assert [hop.host for hop in found] == ["second.far.test"]


async def test_hosts_that_are_not_better_than_us_are_left_out() -> None:
    """RFC 5321 §5.1: else two hosts send the message to each other for ever."""
    records: Records = {
        ("far.test", "MX"): [
            Mx(10, "first.far.test"),
            Mx(20, "mail.example.test"),
            Mx(30, "third.far.test"),
        ],
        ("first.far.test", "A"): ["1.1.1.1"],
        ("third.far.test", "A"): ["1.1.1.3"],
    }

    assert [hop.host for hop in await route(records).hops("far.test")] == ["first.far.test"]


async def test_a_domain_whose_best_host_we_are_is_a_loop() -> None:
    fate = await failure({("far.test", "MX"): [Mx(10, "mail.example.test")]}, "far.test")

    assert (fate.result, fate.status) == (Result.BOUNCED, "5.4.6")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"]
)
async def test_dns_does_not_lead_into_our_own_network(address: str) -> None:
    records: Records = {
        ("far.test", "MX"): [Mx(10, "mx.far.test")],
        ("mx.far.test", "A"): [address],
    }

    fate = await failure(records, "far.test")

    assert (fate.result, fate.status) == (Result.BOUNCED, "5.4.4")


@pytest.mark.parametrize("address", ["::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "ff02::1"])
async def test_nor_by_ipv6(address: str) -> None:
    fate = await failure({("far.test", "AAAA"): [address]}, "far.test")

    assert fate.status == "5.4.4"


async def test_private_addresses_may_be_allowed() -> None:
    chosen = route({("far.test", "A"): ["127.0.0.1"]}, allow_private=True, port=2525)

    assert await chosen.hops("far.test") == [NextHop("far.test", 2525, "127.0.0.1")]


@pytest.mark.parametrize(
    ("literal", "address"), [("[1.1.1.1]", "1.1.1.1"), ("[IPv6:2606:4700::1]", "2606:4700::1")]
)
async def test_an_address_literal_needs_no_dns(literal: str, address: str) -> None:
    assert await route({}).hops(literal) == [NextHop(address, 25, address)]


@pytest.mark.parametrize(("literal", "status"), [("[127.0.0.1]", "5.4.4"), ("[x]", "5.1.2")])
async def test_a_bad_address_literal_is_final(literal: str, status: str) -> None:
    fate = await failure({}, literal)

    assert (fate.result, fate.status) == (Result.BOUNCED, status)


async def test_a_domain_with_endless_hosts_costs_a_few() -> None:
    records: Records = {("far.test", "MX"): [Mx(n, f"mx{n}.far.test") for n in range(100)]}
    for n in range(100):
        records[f"mx{n}.far.test", "A"] = [f"1.1.{n}.{k}" for k in range(1, 100)]

    assert len(await route(records).hops("far.test")) == MOST_ADDRESSES
