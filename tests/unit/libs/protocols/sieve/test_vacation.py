"""vacation and vacation-seconds (RFC 5230, 6131, 3834)."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest

from libs.protocols.sieve.action import Keep, Vacation
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Surroundings
from libs.protocols.sieve.script import Result, compile_script
from libs.protocols.sieve.vacation import answer, why_not

HEAD = (
    b"From: frog@ourmud.example\r\nTo: tim@example.com\r\nSubject: Ribbit\r\n"
    b"Message-ID: <1@ourmud.example>\r\nReferences: <0@ourmud.example>\r\n\r\n"
)


def run(script: str, content: bytes = HEAD) -> Result:
    around = Surroundings("frog@ourmud.example", "tim@example.com")
    return compile_script(script).run(Message(content), around)


def only(script: str, content: bytes = HEAD) -> Vacation:
    (found,) = [one for one in run(script, content).actions if isinstance(one, Vacation)]
    return found


# RFC 5230 §4.1 to §4.7, as they stand there.
EXAMPLES = (
    'require "vacation";\n'
    'vacation :days 23 :addresses ["tjs@example.edu", "ts4z@landru.example.edu"]\n'
    "\"I'm away until October 19.  If it's an emergency, call 911, I guess.\" ;",
    'require "vacation";\nif header :contains "subject" "lunch" {\n'
    'vacation :handle "ran-away" "I\'m out and can\'t meet for lunch";\n'
    '} else {\n vacation :handle "ran-away" "I\'m out"; }',
    'require "vacation";\nvacation :mime text:\nContent-Type: multipart/alternative; boundary=foo\n'
    "\n--foo\n\nI'm at the beach relaxing.  Mmmm, surf...\n\n--foo\n"
    "Content-Type: text/html; charset=us-ascii\n\n<html></html>\n\n--foo--\n.\n;",
    'require ["vacation", "variables"];\nif header :matches "subject" "*" {\n'
    'vacation :subject "Automatic response to: ${1}"\n'
    '"I\'m away -- send mail to foo in my absence"; }',
    'require "vacation";\nvacation :subject "Re: gone fishing" :from "tim@example.com" "Gone.";',
)


@pytest.mark.parametrize("script", EXAMPLES)
def test_the_examples_of_the_standard_answer_and_keep(script: str) -> None:
    result = run(script)

    assert result.fault == ""
    assert [type(one) for one in result.actions] == [Vacation, Keep]


def test_a_subject_may_hold_variables() -> None:
    assert only(EXAMPLES[3]).subject == "Automatic response to: Ribbit"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("", 7 * 86400),
        (":days 23", 23 * 86400),
        (":days 0", 86400),
        (":days 100000", 365 * 86400),
        (":seconds 1800", 1800),
        (":seconds 0", 60),
    ],
)
def test_the_period_is_brought_into_our_range(given: str, seconds: int) -> None:
    assert (
        only(f'require ["vacation", "vacation-seconds"]; vacation {given} "x";').seconds == seconds
    )


def test_vacation_seconds_brings_vacation_with_it() -> None:
    assert only('require "vacation-seconds"; vacation :seconds 1800 "x";').seconds == 1800


@pytest.mark.parametrize(
    "script",
    [
        'vacation "x";',
        'require "vacation"; vacation :seconds 60 "x";',
        'require ["vacation-seconds"]; vacation :days 1 :seconds 60 "x";',
        'require "vacation"; vacation :handle "" "x";',
        'require "vacation"; vacation;',
        'require "vacation"; vacation :days "1" "x";',
    ],
)
def test_what_is_not_valid_is_refused(script: str) -> None:
    with pytest.raises(SieveError):
        compile_script(script)


@pytest.mark.parametrize(
    "script",
    [
        'require "vacation"; vacation "a"; vacation "b";',
        'require ["vacation", "reject"]; vacation "a"; reject "b";',
        'require "vacation"; vacation :mime "no entity";',
    ],
)
def test_what_cannot_be_done_keeps_the_message_and_answers_nobody(script: str) -> None:
    result = run(script)

    assert result.actions == (Keep(implicit=True),)
    assert result.fault


def test_answers_are_the_same_by_their_handle_or_as_they_are_written() -> None:
    """RFC 5230 §4.2; a variable in a text must not make each answer a new one."""
    lunch, other = only(EXAMPLES[1], HEAD.replace(b"Ribbit", b"lunch")), only(EXAMPLES[1])
    assert lunch.reason != other.reason
    assert lunch.handle == other.handle
    assert only(EXAMPLES[3]).handle == only(EXAMPLES[3], HEAD.replace(b"Ribbit", b"x")).handle
    assert only('require "vacation"; vacation "a";').handle != only(EXAMPLES[0]).handle


A = only('require "vacation"; vacation :addresses "Other@example.com" "x";')


@pytest.mark.parametrize(
    ("sender", "field"),
    [
        ("", b""),
        ("MAILER-DAEMON@a.example", b""),
        ("owner-list@a.example", b""),
        ("list-request@a.example", b""),
        ("no-reply@a.example", b""),
        ("bounces+tim=example.com@a.example", b""),
        ("Tim@example.com", b""),
        ("you@a.example", b"Auto-Submitted: auto-generated\r\n"),
        ("you@a.example", b"Auto-Submitted: auto-replied; x=y\r\n"),
        ("you@a.example", b"List-Id: <a.b>\r\n"),
        ("you@a.example", b"List-Unsubscribe: <mailto:x@a.example>\r\n"),
        ("you@a.example", b"Precedence: Bulk\r\n"),
    ],
)
def test_programs_lists_and_oneself_are_not_answered(sender: str, field: bytes) -> None:
    why, _ = why_not(A, Message(field + HEAD), sender, {"tim@example.com"})

    assert why


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"To: tim@example.com\r\n", "tim@example.com"),
        (b"To: a@b.example\r\nCC: Tim <TIM+x@example.com>\r\n", "tim+x@example.com"),
        (b"Bcc: other@example.com\r\n", "other@example.com"),
        (b"Resent-To: tim@example.com\r\nTo: a@b.example\r\n", "tim@example.com"),
        (b"Auto-Submitted: no\r\nTo: tim@example.com\r\n", "tim@example.com"),
        (b"To: a@b.example\r\n", ""),
        (b"", ""),
    ],
)
def test_only_what_was_written_to_the_owner_is_answered(field: bytes, found: str) -> None:
    message = Message(field + b"\r\nx\r\n")

    why, to = why_not(A, message, "you@a.example", {"tim@example.com"})

    assert to == found
    assert bool(why) == (not found)


def written(action: Vacation, content: bytes = HEAD) -> bytes:
    return answer(
        action,
        Message(content),
        sender="tim@example.com",
        to="frog@ourmud.example",
        message_id="<9@example.com>",
        now=0.0,
    )


def test_the_answer_is_marked_and_threaded() -> None:
    found = message_from_bytes(written(A), policy=default)

    assert found["From"] == "tim@example.com"
    assert found["To"] == "frog@ourmud.example"
    assert found["Subject"] == "Auto: Ribbit"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["In-Reply-To"] == "<1@ourmud.example>"
    assert found["References"] == "<0@ourmud.example> <1@ourmud.example>"
    assert found["Message-ID"] == "<9@example.com>"
    assert found.get_content() == "x\r\n"


def test_a_subject_cannot_add_a_field() -> None:
    action = only('require "vacation"; vacation :subject "a\r\nBcc: x@y.example" "x";')

    assert message_from_bytes(written(action), policy=default)["Bcc"] is None


def test_a_mime_entity_gives_its_content_fields_alone() -> None:
    action = only(
        'require "vacation"; vacation :mime text:\nContent-Type: text/html; charset=utf-8\n'
        "Bcc: x@y.example\nContent-Transfer-Encoding: 8bit\n\n<p>hé</p>\n.\n;"
    )

    found = message_from_bytes(written(action), policy=default)

    assert found["Bcc"] is None
    assert found.get_content_type() == "text/html"
    assert found.get_content() == "<p>hé</p>\r\n"
    assert found["MIME-Version"] == "1.0"
