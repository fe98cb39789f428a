"""Lists in DNS: how they are named in the settings, and what their answers mean."""

from __future__ import annotations

import pytest

from libs.common.dns import StaticResolver
from services.ingress.screen.zones import ask_zones, parse_zones, query_name

KNOWN = {
    ("2.0.0.192.bl.test", "A"): ["127.0.0.2"],
    ("2.0.0.192.bl.test", "TXT"): [b"bad\r\n250 OK\x00" + b"x" * 500],
    ("2.0.0.192.score.test", "A"): ["127.0.0.4"],
    ("2.0.0.192.wild.test", "A"): ["192.0.2.1"],
    ("2.0.0.192.closed.test", "A"): ["127.255.255.254"],
    ("2.0.0.192.dead.test", "A"): ["127.0.0.2"],
    ("1.0.0.127.dead.test", "A"): ["127.0.0.2"],
    ("2.0.0.192.allow.test", "A"): ["127.0.2.3"],
}


async def ask(zones: str, threshold: int = 3, ip: str = "192.0.0.2") -> tuple[str, int]:
    resolver = StaticResolver(KNOWN, failing=("2.0.0.192.away.test",))
    finding, score = await ask_zones(resolver, parse_zones(zones), threshold, ip, 5)
    return finding.outcome + (" refuses" if finding.refusal else ""), score


@pytest.mark.parametrize(
    ("zones", "outcome", "score"),
    [
        ("bl.test", "listed:bl.test refuses", 0),
        ("bl.test*2", "score=2:bl.test", 2),
        ("bl.test*2, score.test*1", "listed:bl.test,score.test:score=3 refuses", 3),
        ("bl.test=127.0.0.3", "pass", 0),
        ("score.test=127.0.0.3|127.0.0.4", "listed:score.test refuses", 0),
        ("score.test=127.0.0.0/29*3", "listed:score.test:score=3 refuses", 3),
        ("bl.test*3, allow.test*-1", "score=2:bl.test,allow.test", 2),
        ("allow.test*-3", "score=-3:allow.test", -3),
        ("bl.test, allow.test*-9", "listed:bl.test,allow.test refuses", -9),
        ("other.test", "pass", 0),
        ("wild.test", "pass", 0),
        ("closed.test", "pass", 0),
        ("dead.test", "pass", 0),
        ("away.test", "temperror", 0),
        ("away.test, bl.test", "listed:bl.test refuses", 0),
    ],
)
async def test_what_lists_say(zones: str, outcome: str, score: int) -> None:
    assert await ask(zones) == (outcome, score)


async def test_the_reason_of_a_list_cannot_break_out_of_our_reply() -> None:
    finding, _ = await ask_zones(StaticResolver(KNOWN), parse_zones("bl.test"), 3, "192.0.0.2", 5)

    assert finding.refusal is not None
    assert finding.refusal.encode().count(b"\r\n") == 1
    assert len(finding.refusal.text) < 300


def test_an_ipv6_address_is_asked_by_its_nibbles() -> None:
    """RFC 5782 §2.4."""
    assert query_name("2001:db8:1:2:3:4:567:89ab", "bl.test") == (
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test"
    )


@pytest.mark.parametrize(
    "text",
    [
        "bl",
        "bl.test*x",
        "bl.test=10.0.0.1",
        "bl.test=127.0.0.300",
        "bl.test=",
        "b l.test",
        "-.test.",
    ],
)
def test_a_wrong_list_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_zones(f"ok.test, {text}")
