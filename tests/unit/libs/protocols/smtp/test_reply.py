"""Replies on the wire (RFC 5321 §4.2, RFC 2034 §4)."""

from __future__ import annotations

import re

import pytest

from libs.protocols.smtp import reply as replies
from libs.protocols.smtp.reply import Refusal, Reply

ALL = [value for value in vars(replies).values() if isinstance(value, Reply)]


def test_every_line_has_the_code_and_the_status() -> None:
    assert Reply(550, "5.1.1", "no\nnever").encode() == b"550-5.1.1 no\r\n550 5.1.1 never\r\n"


def test_a_reply_without_status_is_for_greetings() -> None:
    assert Reply(250, "", "mx\nSIZE 1").encode() == b"250-mx\r\n250 SIZE 1\r\n"


@pytest.mark.parametrize("reply", ALL, ids=lambda reply: f"{reply.code}-{reply.status}")
def test_code_and_status_agree(reply: Reply) -> None:
    """The class of the status is the first digit of the code (RFC 2034 §4)."""
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", reply.status)
    assert reply.status[0] == str(reply.code)[0]


@pytest.mark.parametrize(
    ("code", "positive"), [(250, True), (354, True), (421, False), (550, False)]
)
def test_two_and_three_are_positive(code: int, positive: bool) -> None:
    assert Reply(code, "", "x").positive is positive


def test_a_refusal_reads_as_its_reply() -> None:
    assert str(Refusal(Reply(550, "5.1.1", "no such address"))) == "550 5.1.1 no such address"
