"""Strings of scripts: variables, wildcards, patterns, encoded characters, flags."""

import pytest

from libs.protocols.sieve.action import FileInto, Keep, Reject
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits
from libs.protocols.sieve.script import compile_script
from tests.unit.libs.protocols.sieve.running import AROUND, MESSAGE_A, actions, holds


def test_wildcards_give_variables_as_little_as_they_can():
    """RFC 5229 §3.2."""
    script = """require ["fileinto","variables"];
    if header :matches "List-ID" "*<*@*" { fileinto "INBOX.lists.${2}"; stop; }
    if header :matches "Subject" "[*] *" { fileinto "${1}-${2}"; }"""

    assert actions(script, b"List-ID: X <all@b>\r\n\r\n") == (FileInto("INBOX.lists.all"),)
    assert actions(script, b"Subject: [acme-users] [fwd] stop\r\n\r\n") == (
        FileInto("acme-users-[fwd] stop"),
    )


@pytest.mark.parametrize(
    ("modifier", "value", "expected"),
    [
        # RFC 5229 §4.1
        ("", "juMBlEd lETteRS", "juMBlEd lETteRS"),
        (":length", "juMBlEd lETteRS", "15"),
        (":lower", "juMBlEd lETteRS", "jumbled letters"),
        (":upperfirst", "juMBlEd lETteRS", "JuMBlEd lETteRS"),
        (":upperfirst :lower", "juMBlEd lETteRS", "Jumbled letters"),
        (":quotewildcard", "Rock*", "Rock\\*"),
    ],
)
def test_set_applies_its_modifiers_in_order_of_precedence(modifier, value, expected):
    script = f"""require ["variables","fileinto"];
    set {modifier} "a" "{value}"; fileinto "${{A}}";"""

    assert actions(script) == (FileInto(expected),)


def test_text_that_names_no_variable_stays():
    """RFC 5229 §3."""
    script = 'require ["variables","fileinto"]; set "company" "ACME"; fileinto "%s";'

    for text, expected in (
        ("&%${}!", "&%${}!"),
        ("${doh!}", "${doh!}"),
        ("${President, ${Company} Inc.}", "${President, ACME Inc.}"),
    ):
        assert actions(script % text) == (FileInto(expected),)


def test_flags_are_collected_and_set_where_the_message_goes():
    """RFC 5232 §3."""
    start = (
        'require ["imap4flags","fileinto","variables","relational","comparator-i;ascii-numeric"];'
    )

    assert actions(start + 'setflag "\\\\Deleted"; fileinto "INBOX.From Boss";') == (
        FileInto("INBOX.From Boss", ("\\Deleted",)),
    )
    assert actions(start + 'addflag ["\\\\Deleted", "\\\\answered \\\\DELETED"]; keep;') == (
        Keep(("\\Deleted", "\\Answered")),
    )
    assert actions(
        start + 'addflag "f" "\\\\Flagged a"; removeflag "f" "A"; keep :flags "${f}";'
    ) == (Keep(("\\Flagged",)),)
    assert (
        actions(
            start + 'setflag "a b"; if hasflag :count "ge" :comparator "i;ascii-numeric" "2"'
            "{ discard; }"
        )
        == ()
    )
    assert actions(start + 'setflag "\\\\Seen";') == (Keep(("\\Seen",), implicit=True),)


def test_multi_line_text_is_unstuffed():
    """RFC 5228 §2.4.2."""
    script = 'require "reject"; reject text: # why\r\nA\r\n..B\r\n.\r\n;'

    assert actions(script) == (Reject("A\r\n.B\r\n", False),)


def test_variables_are_cut_at_their_limit():
    script = 'require ["variables","fileinto"]; set "a" "123456"; fileinto "${a}";'

    assert actions(script, limits=Limits(variable_characters=4)) == (FileInto("1234"),)


def test_names_may_come_out_of_variables():
    script = """require ["variables","mailbox","environment","imap4flags","fileinto"];
    set "h" "Subject"; set "m" "INBOX"; set "e" "name"; set "f" "one";
    if allof(header :contains "${h}" ["zzz", "${nothing}present"], mailboxexists "${m}",
             environment "${e}" "holub", not exists "X-${h}") {
        fileinto :flags ["${f}", "two"] "${m}.x";
    }"""

    assert actions(script) == (FileInto("INBOX.x", ("one", "two")),)


def test_single_characters_are_captured_in_their_own_case():
    script = """require ["variables","fileinto"];
    if header :matches "subject" "i ?ave*PRES?N*" { fileinto "${1}${2}${3}${4}"; }"""

    assert actions(script) == (FileInto("h a Et for you".replace("Et", "et")),)


@pytest.mark.parametrize(
    ("pattern", "right"),
    [
        ("a\\\\*b", True),
        ("a*?", True),
        ("?", False),
        ("a*c", False),
        ("?????", False),
        ("*?*c*", False),
    ],
)
def test_wildcards_match_the_whole_value(pattern, right):
    assert holds(f'header :matches "x" "{pattern}"', b"X: a*b\r\n\r\n") is right


def test_octets_that_are_no_octets_stay_as_they_are_written():
    assert holds('header :is "x" "${hex:123}"', b"X: ${hex:123}\r\n\r\n")


def test_regex_captures_its_groups():
    script = """require ["regex","variables","fileinto"];
    if header :regex "subject" "have (.) ([a-z]+)(x?)" { fileinto "${2}${3}"; }"""

    assert actions(script) == (FileInto("present"),)


def test_encoded_characters_may_be_wrong_in_a_tag_too():
    script = 'require "encoded-character"; if header :comparator "${unicode:D800}" "a" "b" {}'

    with pytest.raises(SieveError, match="no such Unicode"):
        compile_script(script)


def test_variables_cannot_make_strings_without_end():
    script = 'require "variables"; set "a" "{}"; set "b" "{}";'.format("x" * 4000, "${a}" * 50)

    result = compile_script(script).run(Message(MESSAGE_A), AROUND)

    assert "longer than 65536" in result.fault
