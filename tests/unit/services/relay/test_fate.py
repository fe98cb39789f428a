from __future__ import annotations

import pytest

from services.relay.fate import of_answer
from services.relay.reply import Answer


@pytest.mark.parametrize(
    ("code", "rcpt", "result"),
    [
        (250, False, "relayed"),
        (451, False, "deferred"),
        (550, True, "bounced"),
        (552, False, "bounced"),
        (552, True, "deferred"),
    ],
)
def test_the_code_decides(code: int, rcpt: bool, result: str) -> None:
    assert of_answer(Answer(code, ("x",)), "mx.test:25", rcpt=rcpt).result == result


def test_a_fate_says_who_said_it() -> None:
    assert of_answer(Answer(550, ("5.1.1 no",)), "mx.test:25").why == "mx.test:25: 550 5.1.1 no"
