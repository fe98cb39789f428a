"""duplicate (RFC 7352), special-use (RFC 8579) and mailboxid (RFC 9042)."""

from __future__ import annotations

import pytest

from libs.protocols.sieve.action import FileInto, describe
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Surroundings
from libs.protocols.sieve.script import Result, compile_script

MESSAGE = (
    b"Message-ID: <1@a.example>\r\nMessage-ID: <2@a.example>\r\nX-Event-ID: ev42\r\n"
    b"Subject: ALERT: disk\r\n\r\nx\r\n"
)


class Memory:
    """A platform's memory of ids."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def run(self, script: str, content: bytes = MESSAGE) -> Result:
        around = Surroundings(
            seen=self.keys.__contains__,
            special_uses={"Spam": "\\Junk", "Old": "\\Archive"},
            mailbox_ids={"F1-2": "Moved"},
        )
        result = compile_script(script).run(Message(content), around)
        self.keys |= {one.key for one in result.tracked}
        return result

    def discards(self, script: str, content: bytes = MESSAGE) -> bool:
        return not self.run(script, content).actions


# RFC 7352 §4.
EXAMPLES = (
    'require ["duplicate"]; if duplicate { discard; }',
    'require ["duplicate", "imap4flags"];\nif duplicate { setflag "\\\\seen"; } keep;',
    'require ["duplicate", "variables", "imap4flags", "fileinto"];\n'
    'if header :matches "subject" "ALERT: *" {\n'
    ' if duplicate :seconds 60 :uniqueid "${1}" { setflag "\\\\seen"; }\n'
    ' fileinto "Alerts"; }',
    'require ["duplicate", "variables", "fileinto"];\n'
    'if header :matches "X-Event-ID" "*" { set "id" "${1}"; }\n'
    'if duplicate :uniqueid "${id}" { discard; }',
    'require ["duplicate"]; if duplicate :header "X-Event-ID" :handle "notifier" { discard; }',
    'require ["duplicate"]; if duplicate :seconds 1800 :last { discard; }',
)


@pytest.mark.parametrize("script", EXAMPLES)
def test_the_examples_of_the_standard_run(script: str) -> None:
    result = Memory().run(script)

    assert result.fault == ""
    assert len(result.tracked) == 1


@pytest.mark.parametrize("script", [EXAMPLES[0], EXAMPLES[3], EXAMPLES[4], EXAMPLES[5]])
def test_the_second_of_an_id_is_a_duplicate(script: str) -> None:
    memory = Memory()

    assert not memory.discards(script)
    assert memory.discards(script)


def test_other_ids_and_other_handles_are_none() -> None:
    memory = Memory()
    memory.run(EXAMPLES[0])

    assert not memory.discards(EXAMPLES[0], MESSAGE.replace(b"<1@", b"<3@"))
    assert not memory.discards(EXAMPLES[4])


def test_the_first_of_several_fields_counts_and_without_any_nothing_does() -> None:
    memory = Memory()
    memory.run(EXAMPLES[0])

    assert memory.discards(EXAMPLES[0], b"Message-ID: <1@a.example>\r\n\r\n")
    assert not memory.discards(EXAMPLES[0], b"Subject: x\r\n\r\n")
    assert not memory.discards(EXAMPLES[0], b"Subject: x\r\n\r\n")


def test_two_tests_in_one_script_have_one_answer() -> None:
    assert not Memory().discards('require "duplicate"; if anyof(duplicate, duplicate) { discard; }')


@pytest.mark.parametrize(
    ("given", "seconds", "last"),
    [("", 604800, False), (":seconds 60", 60, False), (":last :seconds 9999999999", 7776000, True)],
)
def test_the_period_is_what_was_asked_for_within_bounds(
    given: str, seconds: int, last: bool
) -> None:
    (tracked,) = Memory().run(f'require "duplicate"; if duplicate {given} {{ stop; }}').tracked

    assert (tracked.seconds, tracked.last) == (seconds, last)


def test_a_fault_notes_nothing() -> None:
    script = 'require ["duplicate", "ihave"]; if duplicate { stop; } error "x";'

    assert Memory().run(script).tracked == ()


def test_a_script_may_ask_for_few_ids_only() -> None:
    tests = ",".join(f'duplicate :handle "{n}"' for n in range(17))

    assert "more than 16" in Memory().run(f'require "duplicate"; if anyof({tests}) {{}}').fault


@pytest.mark.parametrize(
    "script",
    [
        "if duplicate { stop; }",
        'require "duplicate"; if duplicate :header "a" :uniqueid "b" { stop; }',
        'require "duplicate"; if duplicate :header "a b" { stop; }',
        'require "duplicate"; if duplicate "x" { stop; }',
        'require ["fileinto", "special-use", "mailboxid"];'
        ' fileinto :specialuse "\\\\Junk" :mailboxid "F1-2" "x";',
        'if specialuse_exists "\\\\Junk" { stop; }',
    ],
)
def test_what_is_not_valid_is_refused(script: str) -> None:
    with pytest.raises(SieveError):
        compile_script(script)


@pytest.mark.parametrize(
    ("command", "filed"),
    [
        ('fileinto :specialuse "\\\\Junk" "Bulk";', FileInto("Spam")),
        ('fileinto :specialuse "\\\\junk" :create "Bulk";', FileInto("Spam", (), True, "\\junk")),
        (
            'fileinto :specialuse "\\\\Drafts" :create "Mine";',
            FileInto("Mine", (), True, "\\Drafts"),
        ),
        ('fileinto :mailboxid "F1-2" "Before";', FileInto("Moved")),
        ('fileinto :mailboxid "F9-9" "Before";', FileInto("Before")),
    ],
)
def test_a_mailbox_is_found_by_its_use_or_its_id(command: str, filed: FileInto) -> None:
    required = 'require ["fileinto", "mailbox", "special-use", "mailboxid"];'

    assert Memory().run(required + command).actions == (filed,)


@pytest.mark.parametrize(
    ("test", "answer"),
    [
        ('specialuse_exists "\\\\Junk"', True),
        ('specialuse_exists ["\\\\junk", "\\\\Archive"]', True),
        ('specialuse_exists ["\\\\Junk", "\\\\Sent"]', False),
        ('specialuse_exists "Spam" "\\\\Junk"', True),
        ('specialuse_exists "Spam" "\\\\Archive"', False),
        ('specialuse_exists "Nowhere" "\\\\Junk"', False),
        ('mailboxidexists "F1-2"', True),
        ('mailboxidexists ["F1-2", "F9-9"]', False),
    ],
)
def test_what_mailboxes_there_are_can_be_asked(test: str, answer: bool) -> None:
    script = f'require ["special-use", "mailboxid"]; if {test} {{ discard; }}'

    assert Memory().discards(script) is answer


def test_a_use_is_not_in_the_words_of_the_action() -> None:
    assert describe(FileInto("A", (), True, "\\Junk")) == 'fileinto :create "A"'
