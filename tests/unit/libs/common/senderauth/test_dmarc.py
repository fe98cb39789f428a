"""DMARC by RFC 9989: records, tree walk, policy, alignment."""

from __future__ import annotations

import asyncio

import pytest

from libs.common.dns import StaticResolver
from libs.common.senderauth.dkim import DkimResult
from libs.common.senderauth.dmarc import DmarcResult, _names, check_dmarc
from libs.common.senderauth.dmarc_record import is_dmarc, parse_dmarc
from libs.common.senderauth.spf import SpfResult

PASS = SpfResult("pass", "example.com")


def check(
    records: dict[str, str],
    domain: str = "example.com",
    spf: SpfResult | None = None,
    dkim: tuple[str, ...] = (),
    failing: tuple[str, ...] = (),
    exists: tuple[str, ...] = (),
) -> DmarcResult:
    table = {(f"_dmarc.{name}", "TXT"): [text.encode()] for name, text in records.items()}
    table |= {(name, "A"): ["192.0.2.1"] for name in exists}  # type: ignore[misc]
    signed = [DkimResult("pass", name) for name in dkim]
    return asyncio.run(check_dmarc(StaticResolver(table, failing), domain, spf, signed))


def test_an_aligned_pass_is_enough() -> None:
    records = {"example.com": "v=DMARC1; p=reject"}

    assert check(records, spf=PASS).aligned == ("spf",)
    assert check(records, dkim=("example.com",)).aligned == ("dkim",)
    result = check(records, spf=SpfResult("pass", "other.example"), dkim=("example.net",))
    assert (result.word, result.disposition, result.aligned) == ("fail", "reject", ())


def test_a_domain_without_record_has_no_policy() -> None:
    assert check({}).word == "none"


def test_a_suffix_with_a_record_stands_for_names_below_it() -> None:
    """RFC 9989 §4.10.1: neither the name nor its organization has one, the suffix has."""
    result = check({"example": "v=DMARC1; p=reject; psd=y; np=quarantine"}, "shop.example")

    assert (result.word, result.policy, result.policy_domain) == ("fail", "quarantine", "example")


@pytest.mark.parametrize(
    ("records", "organization_aligns"),
    [
        # The shortest name with a record is the organization.
        ({"example.com": "v=DMARC1; p=none"}, True),
        # psd=n ends the walk: mail.example.com is an organization of its own.
        ({"mail.example.com": "v=DMARC1; p=none; psd=n", "example.com": "v=DMARC1"}, False),
        # psd=y: the organization is one label below the suffix.
        ({"com": "v=DMARC1; psd=y", "example.com": "v=DMARC1; p=none"}, True),
        ({"example.com": "v=DMARC1; psd=y", "mail.example.com": "v=DMARC1; p=none"}, False),
    ],
)
def test_the_tree_walk_finds_the_organization(
    records: dict[str, str], organization_aligns: bool
) -> None:
    result = check(records, "mail.example.com", dkim=("example.com",))

    assert (result.aligned == ("dkim",)) is organization_aligns


def test_a_sibling_of_the_same_organization_aligns() -> None:
    records = {"example.com": "v=DMARC1; p=reject"}

    assert check(records, "a.example.com", dkim=("b.example.com",)).word == "pass"


def test_a_tenant_with_psd_n_aligns_with_nobody_else() -> None:
    records = {"example.com": "v=DMARC1; p=reject", "b.example.com": "v=DMARC1; psd=n"}

    assert check(records, "a.example.com", dkim=("b.example.com",)).word == "fail"


@pytest.mark.parametrize("mode", ["adkim", "aspf"])
def test_strict_alignment_wants_the_same_name(mode: str) -> None:
    records = {"example.com": f"v=DMARC1; p=reject; {mode}=s"}
    spf = SpfResult("pass", "mail.example.com") if mode == "aspf" else None
    dkim = ("mail.example.com",) if mode == "adkim" else ()

    assert check(records, spf=spf, dkim=dkim).word == "fail"


@pytest.mark.parametrize(
    ("record", "exists", "policy"),
    [
        ("v=DMARC1; p=reject", True, "reject"),
        ("v=DMARC1; p=reject; sp=none", True, "none"),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", True, "quarantine"),
        ("v=DMARC1; p=none; sp=quarantine; np=reject", False, "reject"),
        ("v=DMARC1; p=none; np=reject", True, "none"),
    ],
)
def test_subdomains_have_a_policy_of_their_own(record: str, exists: bool, policy: str) -> None:
    there = ("x.example.com",) if exists else ()

    assert check({"example.com": record}, "x.example.com", exists=there).policy == policy


@pytest.mark.parametrize(
    ("policy", "asked"), [("reject", "quarantine"), ("quarantine", "none"), ("none", "none")]
)
def test_who_is_testing_gets_one_step_less(policy: str, asked: str) -> None:
    result = check({"example.com": f"v=DMARC1; p={policy}; t=y"})

    assert (result.word, result.policy, result.disposition) == ("fail", policy, asked)
    assert result.testing


@pytest.mark.parametrize(
    ("record", "word", "policy"),
    [
        ("v=DMARC1", "fail", "none"),
        ("v=DMARC1; p=strange", "none", "none"),
        ("v=DMARC1; p=strange; rua=mailto:a@example.com", "fail", "none"),
        ("v=DMARC1; p=reject; sp=strange; rua=mailto:a@example.com!10m", "fail", "none"),
        ("v=DMARC1; p=REJECT; unknown=1; pct=0; nonsense", "fail", "reject"),
        ("v=DMARC1;p = quarantine ;", "fail", "quarantine"),
        ("v=dmarc1; p=reject", "none", "none"),
        ("p=reject; v=DMARC1", "none", "none"),
    ],
)
def test_records_are_read_as_the_standard_says(record: str, word: str, policy: str) -> None:
    result = check({"example.com": record})

    assert (result.word, result.policy) == (word, policy)


def test_several_records_are_none() -> None:
    table = {("_dmarc.example.com", "TXT"): [b"v=DMARC1; p=reject", b"v=DMARC1; p=none"]}

    result = asyncio.run(check_dmarc(StaticResolver(table), "example.com", None, []))

    assert result.word == "none"


def test_without_dns_nothing_is_held_against_a_message() -> None:
    assert check({}, failing=("_dmarc.example.com",)).word == "temperror"
    records = {"example.com": "v=DMARC1; p=reject"}
    result = check(records, spf=SpfResult("temperror", "example.com"))
    assert (result.word, result.disposition) == ("temperror", "none")


@pytest.mark.parametrize("domain", ["", "a..b", "x" * 70 + ".example"])
def test_no_domain_fails_closed(domain: str) -> None:
    assert check({}, domain).word == "permerror"


def test_a_long_name_costs_eight_questions() -> None:
    """RFC 9989 §4.10, its own example."""
    assert _names("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    ]


def test_an_international_domain_is_asked_in_ascii() -> None:
    result = check({"xn--bcher-kva.example": "v=DMARC1; p=reject"}, "bücher.example")

    assert (result.word, result.policy_domain) == ("fail", "xn--bcher-kva.example")


def test_reports_and_version() -> None:
    record = parse_dmarc(b"v=DMARC1; rua=mailto:a@example.com, https://x.example/r!5m, nothing")

    assert record.reports == ("mailto:a@example.com", "https://x.example/r!5m")
    assert is_dmarc(b"v=DMARC1")
    assert not is_dmarc(b"v=DMARC10")


def test_equal_names_need_no_walk() -> None:
    """A suffix whose servers are away says nothing against a domain that speaks for itself."""
    records = {"example.com": "v=DMARC1; p=reject"}

    assert check(records, spf=PASS, failing=("_dmarc.com",)).word == "pass"
