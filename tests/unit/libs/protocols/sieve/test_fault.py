"""What is wrong with a script says where, and whatever goes wrong the mail is kept."""

import pytest

from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits, Surroundings
from libs.protocols.sieve.script import compile_script
from tests.unit.libs.protocols.sieve.running import AROUND, KEPT, MESSAGE_A, actions, holds


@pytest.mark.parametrize(
    ("script", "line", "column", "words"),
    [
        ('fileinto "x";', 1, 1, 'needs require "fileinto"'),
        ("keep", 1, 5, "expected ';'"),
        ('\n  if header "a" {}', 2, 6, "header takes"),
        ('require "vnd.nothing";', 1, 1, "does not have"),
        ("if true { keep; } elsif { stop; }", 1, 19, "elsif needs one test"),
        ("else { keep; }", 1, 1, "else without if"),
        ('keep; require "fileinto";', 1, 7, "at the beginning"),
        ('redirect "nobody";', 1, 10, "not an address"),
        ('redirect "a', 1, 10, "not closed"),
        ("/* a", 1, 1, "comment is not closed"),
        ("if size :over 100KB { keep; }", 1, 15, "no meaning"),
        ("if size :over :under 1 { keep; }", 1, 4, "exclude each other"),
        ("if size 1 { keep; }", 1, 4, ":over or :under"),
        ('if header :is :contains "a" "b" {}', 1, 4, "exclude each other"),
        ('if header :comparator "i;nothing" "a" "b" {}', 1, 4, "unknown comparator"),
        ('if header "a b" "c" {}', 1, 11, "not the name of a header field"),
        ('require "envelope"; if envelope "x" "c" {}', 1, 24, "no part"),
        ('require "regex"; if header :regex "a" "(" {}', 1, 21, "regular expression"),
        ('require "variables"; set "a.b" "c";', 1, 22, "name of a variable"),
        ('require "variables"; set :upper :lower "a" "c";', 1, 22, "same precedence"),
        ('require ["fileinto","variables"]; fileinto "${x.y}";', 1, 35, "namespace"),
        ("nonsense;", 1, 1, "no command 'nonsense'"),
        ("if nonsense {}", 1, 4, "no test 'nonsense'"),
        ("if true not true {}", 1, 9, "takes no tests"),
        ("if true true {}", 1, 9, "takes no tests"),
        ("if allof {}", 1, 4, "tests in parentheses"),
        ("if not {}", 1, 4, "not needs one test"),
        ("if true;", 1, 1, "needs a block"),
        ("if true {} else true {}", 1, 12, "else takes no test"),
        ('require "fileinto" {}', 1, 1, "neither tests nor a block"),
        ("keep true;", 1, 1, "neither tests nor a block"),
        ("keep :nothing;", 1, 6, "no :nothing"),
        ("if size :over :over 1 {}", 1, 15, "given twice"),
        ("if header :comparator {}", 1, 11, "needs a string"),
        ('if header "a" ["b"] ["c"] {}', 1, 21, "header takes"),
        ('if header :is :is "a" "b" {}', 1, 15, "given twice"),
        ('if header 1 "b" {}', 1, 11, "expects a list of strings"),
        ('keep "x";', 1, 6, "keep takes no argument"),
        ('require "fileinto"; fileinto "";', 1, 30, "1 to 1024"),
        ('require "fileinto"; fileinto "a\x07";', 1, 30, "control characters"),
        ('require "index"; if header :last "a" "b" {}', 1, 21, ":last needs :index"),
        ('require "index"; if header :index 0 "a" "b" {}', 1, 21, "counts from 1"),
        ('require "date"; if currentdate "eon" "b" {}', 1, 20, "unknown date part"),
        ('require "date"; if currentdate :zone "x" "year" "b" {}', 1, 20, "like +0100"),
        ('require "date"; if currentdate :zone "+2500" "year" "b" {}', 1, 20, "like +0100"),
        ('require "imap4flags"; setflag "a" "b";', 1, 23, 'needs require "variables"'),
        ('require "relational"; if header :count "many" "a" "b" {}', 1, 26, "needs one of"),
        (
            'require "comparator-i;ascii-numeric";'
            ' if header :contains :comparator "i;ascii-numeric" "a" "b" {}',
            1,
            42,
            "cannot be used",
        ),
        (
            'require "encoded-character"; redirect "${unicode:D800}@x.example";',
            1,
            30,
            "no such Unicode",
        ),
        (
            'require ["envelope","variables"]; if envelope "${a}" "c" {}',
            1,
            38,
            "no part|cannot be variables",
        ),
        ("if size :over 99999999999G { keep; }", 1, 15, "above"),
        ("reject text:\nabc", 1, 8, "single dot"),
    ],
)
def test_an_error_says_where_and_what(script, line, column, words):
    with pytest.raises(SieveError) as caught:
        compile_script(script)

    assert (caught.value.line, caught.value.column) == (line, column)
    assert any(one in caught.value.text for one in words.split("|"))


def test_nesting_has_a_bound_that_no_stack_feels():
    compile_script("if true {" * 15 + "keep;" + "}" * 15)

    for deep in ("if true {" * 20_000, "if " + "not " * 20_000 + "true {}", "if anyof(" * 9_000):
        with pytest.raises(SieveError, match="nested deeper"):
            compile_script(deep)


def test_scripts_of_more_octets_than_allowed_and_of_other_charsets_are_refused():
    with pytest.raises(SieveError, match="larger than"):
        compile_script("#" * 300_000)
    with pytest.raises(SieveError, match=r"line 2.*UTF-8"):
        compile_script(b"keep;\n# \xe4\n")


@pytest.mark.parametrize(
    ("script", "limits", "words"),
    [
        ('require "fileinto"; fileinto "a"; fileinto "b";', Limits(actions=1), "actions"),
        ('redirect "a@b.example"; redirect "b@b.example";', Limits(redirects=1), "redirects"),
        ("if true {} if true {} if true {}", Limits(steps=3), "steps"),
        ('require "variables"; set "a" "1"; set "b" "1";', Limits(variables=1), "variables"),
        ('require ["reject","fileinto"]; fileinto "a"; reject "no";', Limits(), "reject together"),
        ('require "reject"; reject "no"; keep;', Limits(), "reject together"),
        ('require "reject"; reject "no"; reject "again";', Limits(), "reject twice"),
        ('require "variables"; set "a" "x"; redirect "${a}";', Limits(), "not an address"),
        ('require ["variables","fileinto"]; fileinto "${a}";', Limits(), "1 to 1024"),
        ('require ["variables","regex"]; if header :regex "to" "(${a}" {}', Limits(), "regular"),
        ('require "ihave"; error "stop here";', Limits(), "stop here"),
        ('require "ihave"; if ihave "x" {} fileinto "x";', Limits(), "needs require"),
    ],
)
def test_whatever_goes_wrong_the_mail_is_kept(script, limits, words):
    result = compile_script(script).run(Message(MESSAGE_A), AROUND, limits)

    assert result.actions == KEPT
    assert words in result.fault


def test_a_script_that_takes_too_long_is_broken_off():
    ticks = iter(range(0, 10_000, 5))
    around = Surroundings(clock=lambda: float(next(ticks)))

    result = compile_script("if true {}" * 200).run(Message(MESSAGE_A), around)

    assert "longer than" in result.fault
    assert result.actions == KEPT


def test_what_ihave_guards_may_be_unknown():
    """RFC 5463 §4."""
    script = 'require "ihave"; if ihave "vnd.x" { nonsense "x"; } else { discard; }'

    assert actions(script) == ()


def test_hostile_wildcards_cost_steps_and_not_seconds():
    message = b"Subject: " + b"a" * 100_000 + b"\r\n\r\n"
    pattern = "*a" * 200 + "b"

    assert not holds(f'header :matches "subject" "{pattern}"', message)
    assert not holds('header :regex "subject" "^(a+)+$b"', message)


def test_a_test_behind_ihave_is_a_fault_only_when_it_is_reached():
    """RFC 5463 §4."""
    script = 'require "ihave"; if true { discard; stop; } if nonsense "x" { keep; }'

    assert actions(script) == ()
    result = compile_script('require "ihave"; if nonsense {}').run(Message(MESSAGE_A), AROUND)
    assert "no test" in result.fault


def test_what_stands_in_the_wrong_place_is_an_error_behind_ihave_too():
    with pytest.raises(SieveError, match="elsif without if"):
        compile_script('require "ihave"; elsif true {}')


def test_a_hostile_pattern_of_question_marks_is_broken_off_by_its_cost():
    message = b"Subject: " + b"a" * 100_000 + b"\r\n\r\n"
    script = f'if header :matches "subject" "*?{"a" * 5000}b*" {{ discard; }}'

    result = compile_script(script).run(Message(message), AROUND)

    assert "steps" in result.fault
    assert result.actions == KEPT
