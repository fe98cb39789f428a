"""The rules that need no server."""

from __future__ import annotations

import pytest

from libs.common.accounts.screening import Mode, parse_choices
from libs.common.limits import Counts, Limit
from services.ingress.screen.early import must_wait
from services.ingress.screen.greylist import Seen, decide, network_of
from services.ingress.screen.helo import fault_of
from services.ingress.screen.tarpit import MOST_SECONDS, pause_before
from services.ingress.settings import MxSettings

NOW = 1e9


@pytest.mark.parametrize(
    ("triplet", "network", "outcome"),
    [
        (None, None, "new"),
        (Seen(NOW - 299, 0, NOW + 1), None, "early"),
        (Seen(NOW - 300, 0, NOW + 1), None, "returned"),
        (Seen(NOW - 1, 1, NOW + 1), None, "known"),
        (None, Seen(NOW, 4, NOW + 1), "new"),
        (None, Seen(NOW, 5, NOW + 1), "welcome"),
    ],
)
def test_who_came_again_is_let_through(
    triplet: Seen | None, network: Seen | None, outcome: str
) -> None:
    assert decide(triplet, network, NOW, 300, 5) == outcome


def test_a_network_is_never_welcome_when_that_is_switched_off() -> None:
    assert decide(None, Seen(NOW, 1000, NOW), NOW, 300, 0) == "new"


def test_hosts_that_try_in_turn_are_one() -> None:
    assert network_of("192.0.2.9") == network_of("192.0.2.200") == "192.0.2.0/24"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("mail.elsewhere.example", ""),
        ("mail.elsewhere.example.", ""),
        ("почта.example", ""),
        ("[192.0.2.9]", ""),
        ("[IPv6:2001:db8::1]", "mismatch"),
        ("[192.0.2.10]", "mismatch"),
        ("[x]", "invalid"),
        ("[1.2.3]", "mismatch"),
        ("friend", "invalid"),
        ("192.0.2.9", "invalid"),
        ("MX.example.test", "ours"),
        ("mx.example.test.", "ours"),
        ("-a.example", "invalid"),
    ],
)
def test_names_in_helo(name: str, fault: str) -> None:
    found = fault_of(name, "192.0.2.9", "mx.example.test")

    assert (found[0] if found else "") == fault


@pytest.mark.parametrize(
    ("verb", "extended", "waits"),
    [
        ("EHLO", True, True),
        ("DATA", True, True),
        ("MAIL", True, False),
        ("RCPT", True, False),
        ("RCPT", False, True),
        ("BDAT", True, False),
        ("QUIT", False, False),
    ],
)
def test_where_a_client_must_wait(verb: str, extended: bool, waits: bool) -> None:
    """RFC 2920 §3.1; a chunk stands behind its BDAT at once (RFC 3030 §2)."""
    assert must_wait(verb, extended) is waits


def test_a_tarpit_grows_up_to_a_bound() -> None:
    assert [pause_before(n, 3, 2.0) for n in (1, 3, 4, 5, 100)] == [0, 0, 2, 4, MOST_SECONDS]
    assert pause_before(100, 3, 0.0) == 0


def test_what_others_have_open_is_told_in_every_window() -> None:
    limit, counts = Limit(10, 5), Counts()
    counts.add("open:a", limit, 100.0, 2)
    counts.take()
    counts.learn("open:a", 20, 7)

    assert counts.elsewhere("open:a", limit, 101.0) == 5
    assert counts.elsewhere("open:a", limit, 105.0) == 5  # nobody has told of this window yet
    assert counts.elsewhere("open:a", limit, 110.0) == 0
    assert counts.elsewhere("open:b", limit, 110.0) == 0


def test_domains_choose_by_name() -> None:
    assert parse_choices(" dnsbl=note, greylist=refuse ,") == {
        "dnsbl": Mode.NOTE,
        "greylist": Mode.REFUSE,
    }
    for wrong in ("dnsbl", "dnsbl=maybe", "rates=off"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            parse_choices(wrong)


def test_with_every_rule_off_nothing_is_asked() -> None:
    off = {"early_talk": "off", "pipelining": "off", "connections": 0}

    assert MxSettings(**off).ask_nothing  # type: ignore[arg-type]
    assert not MxSettings().ask_nothing
    assert not MxSettings(**off, zones="bl.test").ask_nothing  # type: ignore[arg-type]
    assert MxSettings(**off, zones="bl.test", dnsbl="off").ask_nothing  # type: ignore[arg-type]
