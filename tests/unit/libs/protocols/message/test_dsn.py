"""Delivery status notifications, read with the standard library."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any, cast

import pytest

from libs.protocols.message.dsn import MAX_RETURNED_OCTETS, Failure, compose_dsn

FAILURE = Failure(
    recipient="ann@example.org",
    status="5.1.1",
    reply="550-5.1.1 No such\r\n550 5.1.1 person here",
    remote_host="mx.example.org",
    original_recipient="rfc822;ann@old.example",
    last_attempt_at=880127706.0,
)
FACTS: dict[str, Any] = {
    "action": "failed",
    "failures": [FAILURE],
    "reporting_host": "mx.example.com",
    "sender_address": "postmaster@example.com",
    "recipient": "bob@example.com",
    "message_id": "<1@mx.example.com>",
    "boundary": "boundary-1",
    "at": 880127706.0,
    "arrived_at": 880120000.0,
    "envelope_id": "env-1",
    "mail_id": "0190-f",
    "original_header": b"From: bob@example.com\r\nSubject: hi\r\n\r\n",
}


def parts(octets: bytes) -> tuple[EmailMessage, list[EmailMessage]]:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert not message.defects
    return message, cast(list[EmailMessage], message.get_payload())


def statuses(octets: bytes) -> list[EmailMessage]:
    return cast(list[EmailMessage], parts(octets)[1][1].get_payload())


def test_the_report_has_its_three_parts() -> None:
    message, (text, status, header) = parts(compose_dsn(**FACTS))

    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [one.get_content_type() for one in (text, status, header)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert header.get_payload() == "From: bob@example.com\r\nSubject: hi\r\n"
    assert (message["To"], message["Auto-Submitted"]) == ("bob@example.com", "auto-replied")
    assert message["Date"] == "Fri, 21 Nov 1997 15:55:06 +0000"


def test_the_text_tells_people_what_happened() -> None:
    text = parts(compose_dsn(**FACTS))[1][0].get_content().replace("\r\n", "\n")

    assert "could not be delivered" in text
    assert "<ann@example.org>" in text
    assert "mx.example.org said:\n    550-5.1.1 No such\n    550 5.1.1 person here" in text
    assert "0190-f" in text


def test_the_status_tells_programs_what_happened() -> None:
    about, one = statuses(compose_dsn(**FACTS))

    assert dict(about.items()) == {
        "Original-Envelope-Id": "env-1",
        "Reporting-MTA": "dns; mx.example.com",
        "Arrival-Date": "Fri, 21 Nov 1997 13:46:40 +0000",
    }
    assert dict(one.items()) == {
        "Original-Recipient": "rfc822;ann@old.example",
        "Final-Recipient": "rfc822; ann@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550-5.1.1 No such 550 5.1.1 person here",
        "Last-Attempt-Date": "Fri, 21 Nov 1997 15:55:06 +0000",
    }


def test_a_delay_says_that_nothing_is_to_be_done() -> None:
    failure = Failure("a@b", "", "no answer", retry_until=880_200_000.0)
    octets = compose_dsn(**FACTS | {"action": "delayed", "failures": [failure], "mail_id": ""})

    message, (text, *_) = parts(octets)
    fields = dict(statuses(octets)[1].items())
    assert message["Subject"] == "Delayed Mail (still being tried)"
    assert "need not send it again" in text.get_content()
    assert "We try again until" in text.get_content()
    assert (fields["Action"], fields["Status"]) == ("delayed", "4.0.0")
    assert fields["Diagnostic-Code"] == "x-holub; no answer"
    assert "Will-Retry-Until" in fields


def test_a_success_names_what_the_host_said() -> None:
    taken = Failure("a@b", "2.0.0", "250 2.0.0 taken", remote_host="mx.b")
    octets = compose_dsn(**FACTS | {"action": "relayed", "failures": [taken]})

    message, (text, *_) = parts(octets)
    fields = dict(statuses(octets)[1].items())
    assert message["Subject"] == "Your mail was handed on"
    assert "you hear no more of it" in text.get_content()
    assert (fields["Action"], fields["Status"]) == ("relayed", "2.0.0")
    assert fields["Diagnostic-Code"] == "smtp; 250 2.0.0 taken"


def test_what_is_not_known_is_left_out() -> None:
    octets = compose_dsn(
        **FACTS | {"failures": [Failure("a@b", "bad", "")], "arrived_at": None, "envelope_id": ""}
    )

    about, one = statuses(octets)
    assert list(about) == ["Reporting-MTA"]
    assert dict(one.items()) == {
        "Final-Recipient": "rfc822; a@b",
        "Action": "failed",
        "Status": "5.0.0",
    }


def test_each_recipient_has_a_group() -> None:
    failures = [FAILURE, Failure("c@d", "5.2.2", "full")]

    assert len(statuses(compose_dsn(**FACTS | {"failures": failures}))) == 3


def test_addresses_beyond_ascii_are_escaped() -> None:
    failure = Failure("ü@b", "5.1.1", "näh", original_recipient="utf-8;ä@b")
    octets = compose_dsn(**FACTS | {"failures": [failure]})

    one = statuses(octets)[1]
    assert octets.isascii()
    assert one["Final-Recipient"] == "utf-8; \\x{FC}@b"
    assert one["Original-Recipient"] == "utf-8; \\x{E4}@b"
    assert "<ü@b>\n    näh" in parts(octets)[1][0].get_content().replace("\r\n", "\n")


HOSTILE = ["a\r\nX-Evil: y", "a\n\n--boundary-1--\n", "\0\x01\x7f", "é\udc80", "x" * 5_000, '<>"']


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["recipient", "status", "reply", "remote_host"])
def test_nothing_about_a_recipient_can_break_the_report(name: str, text: str) -> None:
    facts: dict[str, Any] = {"recipient": "a@b", "status": "5.0.0", "reply": "no", name: text}

    check(compose_dsn(**FACTS | {"failures": [Failure(**facts)]}))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["recipient", "sender_address", "envelope_id", "mail_id"])
def test_no_fact_can_break_the_report(name: str, text: str) -> None:
    check(compose_dsn(**FACTS | {name: text}))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"A: b\n\n",
        b"A: \xff\0\n",
        b"A: b\rC: d\r\n",
        b"--boundary-1\r\n--boundary-1=--\r\n",
        b"A: " + b"x" * 5_000 + b"\r\n",
        b"A: b\r\n" * 50_000,
        b"x" * 100_000,
    ],
)
def test_the_original_header_comes_back_in_lines_that_every_host_takes(header: bytes) -> None:
    octets = compose_dsn(**FACTS | {"original_header": header})

    check(octets)
    assert len(octets) < MAX_RETURNED_OCTETS + 10_000


@pytest.mark.parametrize("boundary", ["", 'a"b', "x" * 200, "a b"])
def test_any_boundary_will_do(boundary: str) -> None:
    check(compose_dsn(**FACTS | {"boundary": boundary}))


def check(octets: bytes) -> None:
    message, found = parts(octets)
    assert len(found) == 3
    assert "X-Evil" not in message
    assert octets.isascii()
    assert b"\0" not in octets
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
