"""A bug in the engine must not hold mail up."""

from __future__ import annotations

import pytest

from libs.protocols.sieve.action import Keep
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits, Run, Surroundings
from libs.protocols.sieve.script import Script
from services.delivery.duplicates import Answers, Unanswered
from services.delivery.sieve import attempt

MESSAGE = Message(b"Subject: x\r\n\r\n")


def test_a_bug_keeps_the_message_and_is_told() -> None:
    def wrong(_: Run) -> None:
        raise RecursionError

    result = attempt(Script((wrong,)), MESSAGE, Surroundings(), Limits())

    assert result.actions == (Keep(implicit=True),)
    assert result.fault == "an error of the platform: RecursionError"


def test_a_question_to_the_database_is_no_bug() -> None:
    def asks(run: Run) -> None:
        run.around.seen("key")

    with pytest.raises(Unanswered):
        attempt(Script((asks,)), MESSAGE, Surroundings(seen=Answers().__getitem__), Limits())
