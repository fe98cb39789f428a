"""include, return and global (RFC 6609)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from libs.protocols.sieve.action import Discard, FileInto, Keep
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Do, Surroundings
from libs.protocols.sieve.script import Result, compile_script

MESSAGE = b"From: boss@example.com\r\nSubject: Buy now\r\n\r\n$$\r\n"


def run(script: str, **others: str) -> Result:
    def included(name: str) -> Do | None:
        return compile_script(others[name]).commands if name in others else None

    return compile_script(script).run(Message(MESSAGE), Surroundings(included=included))


def test_the_example_of_several_scripts() -> None:
    """RFC 6609 §3.2: always_allow, spam_tests and mailing_lists around a default script."""
    result = run(
        'require ["include"];\ninclude :personal "always_allow";\n'
        'include :personal "spam_tests";\ninclude :personal "mailing_lists";\n',
        always_allow='if address :is "from" "you@example.com" { keep; stop; }',
        spam_tests='require ["fileinto"];\n'
        'if header :contains "Subject" "Buy now" { fileinto "Spam"; stop; }',
        mailing_lists='require "fileinto"; fileinto "Lists";',
    )

    assert result.fault == ""
    assert result.actions == (FileInto("Spam"),)


def test_return_ends_the_included_script_alone() -> None:
    result = run(
        'require ["include", "fileinto"]; include "a"; fileinto "After";',
        a='require ["include", "fileinto"]; fileinto "In"; return; fileinto "Never";',
    )

    assert result.actions == (FileInto("In"), FileInto("After"))


def test_return_in_the_first_script_is_stop() -> None:
    assert run('require "include"; return; discard;').actions == (Keep(implicit=True),)


def test_variables_are_each_scripts_own_unless_they_are_global() -> None:
    """RFC 6609 §3.4.1 and §3.4.2."""
    result = run(
        'require ["include", "variables", "fileinto"]; global "test"; set "own" "kept";\n'
        'set "test" "$$"; include "a";\n'
        'fileinto "${test} ${own} ${global.other} ${hidden}|";',
        a='require ["include", "variables"]; global ["test", "mailbox"];\n'
        'if string :is "${test}${own}" "$$" { set "mailbox" "x"; set "test" "seen"; }\n'
        'set "global.other" "too"; set "hidden" "h"; set "own" "o";',
    )

    assert result.fault == ""
    assert result.actions == (FileInto("seen kept too |"),)


def test_once_and_optional() -> None:
    twice = 'require "include"; include {0} "a"; include {0} "a";'
    count = 'require ["variables", "include"]; global "n"; set "n" "${n}x";'
    out = 'require ["variables", "include", "fileinto"]; fileinto "${global.n}";'

    assert run(twice.format("") + 'include "o";', a=count, o=out).actions == (FileInto("xx"),)
    assert run(twice.format(":once") + 'include "o";', a=count, o=out).actions == (FileInto("x"),)
    assert run('require "include"; include :optional "z"; discard;').actions == ()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('require "include"; include "z"; discard;', "no script 'z'"),
        ('require "include"; include :global "a"; discard;', "no script 'a'"),
        ('require "include"; include "loop"; discard;', "includes itself"),
        ('require "include"; include "ping"; discard;', "includes itself"),
        ('require "include"; ' + 'include "a";' * 51 + "discard;", "more than 50"),
    ],
)
def test_what_cannot_be_included_keeps_the_message(script: str, words: str) -> None:
    result = run(
        script,
        a="stop;" if ":global" in script else "keep;",
        loop='require "include"; include "loop";',
        ping='require "include"; include "pong";',
        pong='require "include"; include "ping";',
    )

    assert words in result.fault
    assert result.actions == (Keep(implicit=True),)


def test_an_action_of_an_included_script_is_one_of_the_whole() -> None:
    assert run('require "include"; include "a";', a="discard;").actions == ()
    assert Discard() not in run('require "include"; include "a"; keep;', a="discard;").actions


@pytest.mark.parametrize(
    "script",
    [
        'include "a";',
        'require ["include", "variables"]; include "${a}";',
        'require "include"; include :global :personal "a";',
        'require "include"; global "a";',
        'require ["include", "variables"]; global "a b";',
        'require ["variables", "fileinto"]; fileinto "${global.x}";',
        'require "include"; return "x";',
    ],
)
def test_what_is_not_valid_is_refused(script: str) -> None:
    with pytest.raises(SieveError):
        compile_script(script)


def test_the_deepest_of_all_scripts_does_not_exhaust_our_stack() -> None:
    deep = 'require ["include", "fileinto"];' + "if true {" * 31 + "{0}" + "}" * 31
    names = ["a", "b", "c", "d", "e", "f"]
    others = {name: deep.replace("{0}", f'include "{after}";') for name, after in pairwise(names)}

    result = run(deep.replace("{0}", 'include "b";'), **others, f=deep.replace("{0}", "discard;"))

    assert result.fault == ""
    assert result.actions == ()
