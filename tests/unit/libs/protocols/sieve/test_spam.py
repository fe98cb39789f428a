"""spamtest and spamtestplus (RFC 5235), and a filter that a provider publishes."""

from __future__ import annotations

import pytest

from libs.protocols.sieve.action import FileInto, Keep
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Surroundings
from libs.protocols.sieve.script import Result, compile_script

NUMERIC = 'require ["spamtestplus", "fileinto", "relational", "comparator-i;ascii-numeric"];'


def run(script: str, level: float | None) -> Result:
    around = Surroundings(spam=level, items={"vnd.proton.spam-threshold": "6"})
    return compile_script(script).run(Message(b"Subject: x\r\n\r\n"), around)


# RFC 5235 §3.2.1
EXAMPLE = (
    'require ["spamtest", "fileinto", "relational", "comparator-i;ascii-numeric"];\n'
    'if spamtest :value "eq" :comparator "i;ascii-numeric" "0"\n'
    '{ fileinto "INBOX.unclassified"; }\n'
    'elsif spamtest :value "ge" :comparator "i;ascii-numeric" "3"\n{ fileinto "INBOX.spam-trap"; }'
)


@pytest.mark.parametrize(
    ("level", "mailbox"),
    [(None, "INBOX.unclassified"), (1.0, "INBOX.spam-trap"), (0.3, "INBOX.spam-trap")],
)
def test_the_example_of_the_standard(level: float | None, mailbox: str) -> None:
    assert run(EXAMPLE, level).actions == (FileInto(mailbox),)
    assert run(EXAMPLE, 0.0).actions == (Keep(implicit=True),)


@pytest.mark.parametrize(
    ("test", "level", "answer"),
    [
        ('spamtest :percent :value "gt" :comparator "i;ascii-numeric" "37"', 0.38, True),
        ('spamtest :percent :value "gt" :comparator "i;ascii-numeric" "37"', 0.37, False),
        ('spamtest :percent :count "eq" "0"', None, True),
        ('spamtest :percent :count "eq" "1"', 0.0, True),
        ('spamtest :is "10"', 1.0, True),
        ('spamtest :is "1"', 0.0, True),
        ('spamtest "0"', 0.0, False),
    ],
)
def test_levels_are_numbers_of_the_standard(test: str, level: float | None, answer: bool) -> None:
    assert (run(f"{NUMERIC} if {test} {{ discard; }}", level).actions == ()) is answer


@pytest.mark.parametrize(
    "script",
    [
        'if spamtest "1" { stop; }',
        'require "spamtest"; if spamtest :percent "1" { stop; }',
        'require "spamtest"; if spamtest { stop; }',
        'require "virustest"; stop;',
    ],
)
def test_what_is_not_valid_is_refused(script: str) -> None:
    with pytest.raises(SieveError):
        compile_script(script)


@pytest.mark.parametrize(("level", "actions"), [(0.9, 1), (0.1, 1), (None, 1)])
def test_the_head_of_filters_that_a_provider_writes_runs(level: float | None, actions: int) -> None:
    """Generated in front of every filter of that provider: spam is left to the platform."""
    result = run(
        'require ["include", "environment", "variables", "relational",'
        ' "comparator-i;ascii-numeric", "spamtest", "fileinto"];\n'
        'if allof (environment :matches "vnd.proton.spam-threshold" "*",\n'
        'spamtest :value "ge" :comparator "i;ascii-numeric" "${1}")\n{ return; }\n'
        'fileinto "Archive";',
        level,
    )

    assert result.fault == ""
    assert len(result.actions) == actions
    assert isinstance(result.actions[0], Keep) is (level == 0.9)
