"""Authentication-Results, read back by authres, which we did not write; and iprev."""

from __future__ import annotations

import asyncio

import authres
import pytest

from libs.common.dns import StaticResolver
from libs.common.senderauth.arc import ArcResult
from libs.common.senderauth.dkim import DkimResult
from libs.common.senderauth.dmarc import DmarcResult
from libs.common.senderauth.iprev import IprevResult, check_iprev
from libs.common.senderauth.results import (
    arc_words,
    authentication_results,
    claims,
    dkim_words,
    dmarc_words,
    iprev_words,
    spf_words,
)
from libs.common.senderauth.spf import SpfResult


def test_authres_reads_what_we_write() -> None:
    signature = DkimResult("pass", "example.org", "sel", "@example.org", "rsa-sha256", "Ab+/12=x")
    words = [
        spf_words(SpfResult("pass", "example.org")),
        *dkim_words([signature]),
        dmarc_words(
            DmarcResult("fail", "example.org", "reject", "reject", (), "example.org", "no")
        ),
        iprev_words(IprevResult("pass"), "192.0.2.1"),
    ]

    read = authres.AuthenticationResultsHeader.parse(
        authentication_results("mx.example.net", words)
    )

    assert read.authserv_id == "mx.example.net"
    assert [(one.method, one.result) for one in read.results] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dmarc", "fail"),
        ("iprev", "pass"),
    ]
    assert read.results[0].smtp_mailfrom == "example.org"
    assert read.results[1].header_d == "example.org"
    assert [(one.name, one.value) for one in read.results[2].properties] == [
        ("from", "example.org"),
        ("dmarc", "reject"),
    ]


def test_what_strangers_write_stays_one_value() -> None:
    forged = SpfResult("fail", 'x"; dkim=pass header.d=bank.example\r\nTo: you; ü')

    field = authentication_results("mx", [spf_words(forged)])

    assert field.count("\r\n") == 2
    assert 'smtp.mailfrom="x\\"; dkim=pass header.d=bank.example?To: you; ?"' in field
    field.encode("ascii")


def test_nothing_checked_is_said_so() -> None:
    assert authentication_results("mx", []) == "Authentication-Results: mx;\r\n none\r\n"
    assert dkim_words([]) == ["dkim=none"]
    assert arc_words(ArcResult("none"), "2001:db8::1") == 'arc=none smtp.remote-ip="2001:db8::1"'


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.example.net; spf=pass\r\n",
        b"AUTHENTICATION-results:\r\n MX.example.NET 1; spf=pass\r\n",
        b"Authentication-Results: (hi (there)) mx.example.net (x); spf=pass\r\n",
        b'Authentication-Results : "mx.example\\.net"; spf=pass\r\n',
        b"Authentication-Results: mx.example.net\r\n",
    ],
)
def test_a_field_that_claims_to_be_ours_is_found(field: bytes) -> None:
    content = b"To: a@example.org\r\n" + field + b"Subject: x\r\n\r\n"

    assert claims(content, "mx.example.net") == [content.index(field)]


def test_other_peoples_fields_stay() -> None:
    content = b"Authentication-Results: mx.example.net.evil.example; spf=pass\r\n\r\n"

    assert claims(content, "mx.example.net") == []


def test_a_claim_is_found_behind_more_fields_than_anybody_reads_and_they_are_bounded() -> None:
    claim = b"Authentication-Results: mx.example.net; spf=pass\r\n"
    many = b"X-Filler: y\r\n" * 3000 + claim * 1200

    assert claims(many, "mx.example.net") == [39_000 + n * len(claim) for n in range(1000)]


@pytest.mark.parametrize(
    ("ptr", "a", "word"),
    [
        (["mx.example.org"], ["192.0.2.1"], "pass"),
        (["mx.example.org"], ["192.0.2.2"], "fail"),
        ([], [], "permerror"),
    ],
)
def test_iprev_leads_back(ptr: list[str], a: list[str], word: str) -> None:
    table = {("1.2.0.192.in-addr.arpa", "PTR"): ptr, ("mx.example.org", "A"): a}

    assert asyncio.run(check_iprev(StaticResolver(table), "192.0.2.1")).word == word


def test_iprev_without_dns_is_a_temporary_error() -> None:
    resolver = StaticResolver({}, failing=("1.2.0.192.in-addr.arpa",))

    assert asyncio.run(check_iprev(resolver, "192.0.2.1")).word == "temperror"
