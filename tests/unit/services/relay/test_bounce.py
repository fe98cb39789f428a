from __future__ import annotations

import email
import email.policy

import msgspec
import pytest

from libs.common.jobs import Client, Envelope, Origin, Recipient, RecordHeader
from services.relay.bounce import (
    Kind,
    Notice,
    child_id,
    dsn_header,
    report,
    wants_delay,
    wants_success,
    whom_to_tell,
    xtext_decoded,
)
from services.relay.fate import bounced


def header(
    path: str = "alice@example.test", account: int = 1, origin: str = "smtp"
) -> RecordHeader:
    return RecordHeader(
        "parent",
        1_700_000_000.0,
        Envelope(path, (Recipient(0, "bob@other.test"),), envid="a+2Bb"),
        origin=Origin(origin),
        client=Client(account=account),
    )


def test_a_report_is_protected_as_its_message_was() -> None:
    """RFC 8689 §5."""
    parent = header()
    protected = msgspec.structs.replace(
        parent, envelope=msgspec.structs.replace(parent.envelope, requiretls=True)
    )

    assert dsn_header(protected, "child", "mx.test", 0.0).envelope.requiretls
    assert not dsn_header(parent, "child", "mx.test", 0.0).envelope.requiretls


def test_only_a_sender_whom_we_know_gets_a_report() -> None:
    """Anybody else may be forged, and would get mail for what he never sent (I9)."""
    recipient = Recipient(0, "bob@other.test")

    assert whom_to_tell(header(), recipient) is Notice.SENDER
    assert whom_to_tell(header(account=0, origin="api"), recipient) is Notice.SENDER
    assert whom_to_tell(header(account=0), recipient) is Notice.OPERATOR


def test_a_report_is_never_answered_with_a_report() -> None:
    assert whom_to_tell(header(path=""), Recipient(0, "bob@other.test")) is Notice.OPERATOR


@pytest.mark.parametrize(
    ("notify", "notice"),
    [("NEVER", Notice.NOBODY), ("SUCCESS,DELAY", Notice.NOBODY), ("failure", Notice.SENDER)],
)
def test_notify_is_obeyed(notify: str, notice: Notice) -> None:
    assert whom_to_tell(header(), Recipient(0, "bob@other.test", notify=notify)) is notice


def test_a_repeated_attempt_makes_the_same_report() -> None:
    assert child_id("m", [2, 1], Kind.FAILED) == child_id("m", [1, 2], Kind.FAILED)
    assert child_id("m", [1], Kind.FAILED) != child_id("m", [2], Kind.FAILED)
    assert child_id("m", [1], Kind.FAILED) != child_id("m", [1], Kind.DELAYED)


@pytest.mark.parametrize(
    ("notify", "success", "delay"),
    [
        ("", False, True),
        ("NEVER", False, False),
        ("FAILURE", False, False),
        ("success,Delay", True, True),
    ],
)
def test_success_is_told_to_who_asks_and_delay_to_who_says_nothing(
    notify: str, success: bool, delay: bool
) -> None:
    """RFC 3461 §4.1."""
    recipient = Recipient(0, "bob@other.test", notify=notify)

    assert wants_success(header(), recipient) is success
    assert wants_delay(header(), recipient) is delay
    assert not wants_success(header(path=""), recipient)
    assert not wants_delay(header(path=""), recipient)


def test_a_report_comes_from_nobody() -> None:
    made = dsn_header(header(), "child", "mail.example.test", 1.0)

    assert made.envelope.reverse_path == ""
    assert [r.address for r in made.envelope.recipients] == ["alice@example.test"]
    assert (made.origin, made.parent) == (Origin.DSN, "parent")


def test_a_report_says_who_said_what_of_whom() -> None:
    raw = report(
        header(),
        [
            (
                Recipient(0, "bob@other.test", orcpt="rfc822;B+2Bb@other.test"),
                bounced("5.1.1", "550 5.1.1 nobody here", "mx.other.test:25"),
            )
        ],
        kind=Kind.FAILED,
        retry_until=1_700_432_000.0,
        child="child",
        hostname="mail.example.test",
        now=1_700_000_100.0,
        original_header=b"Subject: hello\r\n\r\n",
    )

    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    _, status, returned = parsed.iter_parts()
    groups = status.get_payload()
    assert isinstance(groups, list)
    assert groups[0]["Original-Envelope-Id"] == "a+b"
    assert groups[1]["Final-Recipient"] == "rfc822; bob@other.test"
    assert groups[1]["Original-Recipient"] == "rfc822;B+b@other.test"
    assert groups[1]["Remote-MTA"] == "dns; mx.other.test"
    assert groups[1]["Status"] == "5.1.1"
    assert "nobody here" in groups[1]["Diagnostic-Code"]
    assert "Subject: hello" in returned.get_content()


def test_xtext_is_decoded() -> None:
    assert xtext_decoded("a+2B+3Db+zz") == "a+=b+zz"
