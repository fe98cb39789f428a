"""Scripts and messages of the RFCs named in each test, and what must come out."""

import pytest

from libs.protocols.sieve.action import Discard, FileInto, Keep, Redirect, Reject, describe
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.script import compile_script
from tests.unit.libs.protocols.sieve.running import AROUND, KEPT, MESSAGE_A, actions

EXAMPLE = r"""
# RFC 5228 §9
require ["fileinto"];
if header :is "Sender" "owner-ietf-mta-filters@imc.org"
        {
        fileinto "filter";  # move to "filter" mailbox
        }
elsif address :DOMAIN :is ["From", "To"] "example.com"
        {
        keep;               # keep in "In" mailbox
        }
elsif anyof (NOT address :all :contains
               ["To", "Cc", "Bcc"] "me@example.com",
             header :matches "subject"
               ["*make*money*fast*", "*university*dipl*mas*"])
        {
        fileinto "spam";   # move to "spam" mailbox
        }
else
        {
        fileinto "personal";
        }
"""


def test_the_extended_example_files_what_matches_no_rule_as_spam():
    assert actions(EXAMPLE) == (FileInto("spam"),)


def test_a_message_without_any_action_is_kept():
    assert actions("") == KEPT
    assert actions("# only a comment\n/* and\nanother */") == KEPT


def test_discard_cancels_the_implicit_keep_and_a_keep_stays():
    assert actions("discard;") == ()
    assert actions("discard; keep;") == (Keep(),)


def test_stop_ends_the_script():
    assert actions('require "fileinto"; fileinto "a"; stop; fileinto "b";') == (FileInto("a"),)
    assert actions("if true { stop; } discard;") == KEPT


def test_the_same_mailbox_twice_is_one_copy():
    assert actions('require "fileinto"; fileinto "a"; fileinto "a";') == (FileInto("a"),)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('redirect "bart@example.com";', (Redirect("bart@example.com"),)),
        ('require "copy"; redirect :copy "a@b.example";', (Redirect("a@b.example"), *KEPT)),
        (
            'require ["copy","fileinto"]; fileinto :copy "incoming";',
            (FileInto("incoming"), *KEPT),
        ),
        ('require "reject"; reject "no";', (Reject("no", False),)),
        ('require "ereject"; ereject "no";', (Reject("no", True),)),
        (
            'require ["fileinto","mailbox"]; fileinto :create "Partners";',
            (FileInto("Partners", create=True),),
        ),
    ],
)
def test_actions_come_out_as_they_were_asked_for(script, expected):
    assert actions(script) == expected


def test_explain_names_each_test_and_action_with_its_line():
    script = compile_script('if header :contains "to" "acme" {\n  discard;\n}')

    result = script.run(Message(MESSAGE_A), AROUND, explain=True)

    assert result.explained == ("line 1: header is true", "line 2: discard")


def test_actions_are_described_as_a_script_would_write_them():
    assert [
        describe(one)
        for one in (
            Keep(("\\Seen",)),
            Keep(implicit=True),
            FileInto('a"b', create=True),
            Redirect("a@b.example"),
            Reject("no\r\nmore", True),
            Discard(),
        )
    ] == [
        'keep :flags ["\\\\Seen"]',
        "keep (implicit)",
        'fileinto :create "a\\"b"',
        'redirect "a@b.example"',
        'ereject "no\\r\\nmore"',
        "discard",
    ]
