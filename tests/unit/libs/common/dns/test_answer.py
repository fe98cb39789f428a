from __future__ import annotations

import pytest

from libs.common.dns.answer import canonical_name, reverse_name


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Example.TEST.", "example.test"),
        ("_dmarc.example.test", "_dmarc.example.test"),
        ("bücher.test", "xn--bcher-kva.test"),
    ],
)
def test_names_are_compared_in_one_form(name: str, known: str) -> None:
    assert canonical_name(name) == known


@pytest.mark.parametrize(
    "name", ["", "a..b", "x" * 64 + ".test", ".".join(["a" * 60] * 5), "a\x7f.test", "a\0.test"]
)
def test_a_name_that_cannot_exist_is_never_asked_for(name: str) -> None:
    assert canonical_name(name) is None


def test_addresses_have_names_in_the_reverse_tree() -> None:
    assert reverse_name("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert reverse_name("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")
    with pytest.raises(ValueError):
        reverse_name("mx.example.test")
