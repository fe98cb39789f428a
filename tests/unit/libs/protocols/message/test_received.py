"""Received fields."""

from __future__ import annotations

import re
from typing import Any

import pytest

from libs.protocols.message.header import parse_header
from libs.protocols.message.received import count_received, received_field

FACTS: dict[str, Any] = {
    "helo": "mail.example.org",
    "rdns": "mx.example.org",
    "ip": "192.0.2.1",
    "by": "mx.example.com",
    "protocol": "ESMTPS",
    "mail_id": "0190-f",
    "recipient": "ann@example.com",
    "at": 880127706.0,
    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
}


def test_the_field_says_who_when_and_how() -> None:
    assert received_field(**FACTS) == (
        b"Received: from mail.example.org (mx.example.org [192.0.2.1])\r\n"
        b"\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        b"\tby mx.example.com with ESMTPS id 0190-f\r\n"
        b"\tfor <ann@example.com>;\r\n"
        b"\tFri, 21 Nov 1997 15:55:06 +0000\r\n"
    )


def test_what_is_unknown_is_left_out() -> None:
    facts = FACTS | {"rdns": "", "ip": "2001:db8::1", "tls": "", "recipient": None, "helo": ""}

    assert received_field(**facts) == (
        b"Received: from unknown ([IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.com with ESMTPS id 0190-f;\r\n"
        b"\tFri, 21 Nov 1997 15:55:06 +0000\r\n"
    )


def test_an_address_literal_is_a_fine_helo() -> None:
    assert b"from [192.0.2.9] (" in received_field(**FACTS | {"helo": "[192.0.2.9]"})


HOSTILE = ["a\r\nX: y", "a (b", "x; y", "é\udc80", "[a", "\0" * 9, "<x>", "x" * 100_000, "a\n\nb"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["helo", "rdns", "ip", "tls", "recipient", "mail_id"])
def test_no_value_can_leave_its_place(name: str, text: str) -> None:
    field = received_field(**FACTS | {name: text})

    (only,) = parse_header(field + b"\r\n").fields
    assert only.end == len(field)
    assert re.fullmatch(rb"(?:[\x20-\x7e\t]{1,997}\r\n)+", field)
    assert field.count(b";") == 1
    assert field.count(b"(") == field.count(b")") == 2


@pytest.mark.parametrize("recipient", ["ü@example.com", "a>b@example.com", "nobody", '"a b"@c'])
def test_the_for_clause_is_only_for_addresses_that_fit(recipient: str) -> None:
    field = received_field(**FACTS | {"recipient": recipient})

    assert (b"for <" in field) == (recipient == '"a b"@c')


def test_received_fields_of_the_header_are_counted() -> None:
    section = (
        b"Received: a\r\n\tReceived: folded\r\nRECEIVED : b\r\nX-Received: c\r\n"
        b"Received-SPF: d\r\n\r\nReceived: body\r\n"
    )

    assert count_received(section) == 2
    assert count_received(b"") == 0
