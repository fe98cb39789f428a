"""Scripts and messages of the RFCs named in each test, and what must come out."""

import pytest

from libs.protocols.sieve.action import Discard, FileInto, Keep, Redirect, Reject, describe
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits, Surroundings
from libs.protocols.sieve.script import EXTENSIONS, compile_script

# RFC 5228 §9: the two messages of the extended example.
MESSAGE_A = b"""Date: Tue, 1 Apr 1997 09:06:31 -0800 (PST)\r
From: coyote@desert.example.org\r
To: roadrunner@acme.example.com\r
Subject: I have a present for you\r
\r
Look, I'm sorry about the whole anvil thing, and I really\r
didn't mean to try and drop it on you from the top of the\r
cliff.  I want to try to make it up to you.  I've got some\r
great birdseed over here at my place--top of the line\r
stuff--and if you come by, I'll have it all wrapped up\r
for you.  I'm really sorry for all the problems I've caused\r
for you over the years, but I know we can work this out.\r
--\r
Wile E. Coyote   "Super Genius"   coyote@desert.example.org\r
"""
MESSAGE_B = b"""From: youcouldberich!@reply-by-postal-mail.invalid\r
Sender: b1ff@de.res.example.com\r
To: rube@landru.example.com\r
Date:  Mon, 31 Mar 1997 18:26:10 -0800\r
Subject: $$$ YOU, TOO, CAN BE A MILLIONAIRE! $$$\r
\r
YOU MAY HAVE ALREADY WON TEN MILLION DOLLARS, BUT I DOUBT\r
IT!  SO JUST POST THIS TO SIX HUNDRED NEWSGROUPS!  IT WILL\r
GUARANTEE THAT YOU GET AT LEAST FIVE RESPONSES WITH MONEY!\r
MONEY! MONEY! COLD HARD CASH!  YOU WILL RECEIVE OVER\r
$20,000 IN LESS THAN TWO MONTHS!  AND IT'S LEGAL!!!!!!!!!\r
!!!!!!!!!!!!!!!!!!111111111!!!!!!!11111111111!!1  JUST\r
SEND $5 IN SMALL, UNMARKED BILLS TO THE ADDRESSES BELOW!\r
"""
AROUND = Surroundings(
    reverse_path="coyote@desert.example.org",
    recipient="roadrunner+trap@acme.example.com",
    now=1_700_000_000.0,
    items={"location": "MDA", "name": "Holub"},
    mailbox_exists=lambda name: name in ("INBOX", "Partners"),
)
NORMAL = Limits()
KEPT = (Keep(implicit=True),)
ALL = ", ".join(f'"{name}"' for name in sorted(EXTENSIONS))


def actions(script, message=MESSAGE_A, around=AROUND, limits=NORMAL):
    result = compile_script(script).run(Message(message), around, limits)
    assert result.fault == ""
    return result.actions


def holds(test, message=MESSAGE_A, around=AROUND):
    """Whether a test is true, with every extension required."""
    result = actions(f"require [{ALL}]; if {test} {{ discard; }}", message, around)
    assert result in ((), KEPT)
    return result == ()


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


@pytest.mark.parametrize(
    "test",
    [
        # RFC 5228 §2.7.1, §5.7: case, substrings, wildcards
        'header :is "SUBJECT" "i have a present for you"',
        'header :contains ["To","Subject"] "PRESENT"',
        'header :contains "Subject" ""',
        'header :matches "Subject" "I have ? present*"',
        'header :comparator "i;octet" :contains "Subject" "present"',
        'not header :comparator "i;octet" :contains "Subject" "PRESENT"',
        'not header :is "X-Caffeine" [""]',
        'not header :contains "X-Caffeine" [""]',
        'exists ["From","Date"]',
        'not exists ["From","X-Caffeine"]',
        "size :under 1K",
        "size :over 500",
        "not size :over 1M",
        # §5.1 address
        'address :is :all "from" "COYOTE@desert.example.org"',
        'address :localpart "from" "coyote"',
        'address :domain :matches "from" "*.example.org"',
        # §5.4 envelope
        'envelope :all :is "from" "coyote@desert.example.org"',
        'envelope :domain "to" "acme.example.com"',
        # §2.4.2.4 encoded characters
        'header :contains "From" "coyote${hex:40}desert"',
        'header :contains "From" "coyote${unicode:40}desert"',
        "allof(true, not false, anyof(false, true))",
        # RFC 5231
        'header :value "gt" :comparator "i;ascii-casemap" "subject" "a"',
        'header :count "eq" :comparator "i;ascii-numeric" ["to","from"] "2"',
        'address :count "ge" :comparator "i;ascii-numeric" ["to","cc"] ["1"]',
        # RFC 5233
        'envelope :detail "to" "trap"',
        'envelope :user "to" "roadrunner"',
        'not envelope :detail :matches "from" "*"',
        # RFC 5173
        'body :contains "birdseed"',
        'body :raw :contains "Super Genius"',
        'body :content "text" :contains "anvil"',
        'not body :content "image" :contains ""',
        # RFC 5260
        'date :originalzone "date" "hour" "09"',
        'date :zone "+0000" "date" "time" "17:06:31"',
        'date "date" "weekday" "2"',
        'date :originalzone "date" "zone" "-0800"',
        'date :originalzone "date" "iso8601" "1997-04-01T09:06:31-08:00"',
        'date :originalzone "date" "std11" "Tue, 01 Apr 1997 09:06:31 -0800"',
        'date :originalzone "date" "julian" "50539"',
        'currentdate :zone "+0000" :value "ge" "date" "2023-11-14"',
        'currentdate "year" "2023"',
        # RFC 5183, 5490, 5463
        'environment :is "location" "MDA"',
        'not environment :contains "no-such-item" ""',
        'mailboxexists ["INBOX","Partners"]',
        'not mailboxexists "Nowhere"',
        'ihave ["fileinto","date"]',
        'not ihave "vnd.example.nothing"',
        # RFC 5229
        'string :is "${nothing}" ""',
        'string :count "eq" :comparator "i;ascii-numeric" ["","x"] "1"',
        'header :regex "subject" "^I have (a|an) .*you$"',
    ],
)
def test_tests_that_hold(test):
    assert holds(test)


def test_index_picks_one_of_several_fields():
    """RFC 5260 §6."""
    message = b"X: one\r\nX: two\r\nX: three\r\n\r\n"

    assert holds('header :index 2 "x" "two"', message)
    assert holds('header :index 1 :last "x" "three"', message)
    assert holds('header :index 3 :last "x" "one"', message)
    assert not holds('header :index 4 :contains "x" ""', message)


def test_numbers_compare_by_value_and_text_is_infinite():
    """RFC 4790 §9.1."""
    message = b"X: 0010 apples\r\nY: none\r\n\r\n"

    assert holds('header :comparator "i;ascii-numeric" :is "x" "10"', message)
    assert holds('header :comparator "i;ascii-numeric" :value "lt" "x" "9999999999999"', message)
    assert holds('header :comparator "i;ascii-numeric" :value "gt" "y" "9999999999999"', message)


def test_unicode_casemap_knows_letters_that_ascii_does_not():
    message = b"Subject: =?utf-8?q?=C3=84RGER?=\r\n\r\n"

    assert holds('header :comparator "i;unicode-casemap" :is "subject" "ärger"', message)
    assert not holds('header :is "subject" "ärger"', message)
    assert holds('header :comparator "i;unicode-casemap" :matches "subject" "ä*"', message)


def test_the_null_path_is_an_empty_address():
    """RFC 5228 §5.4."""
    around = Surroundings(reverse_path="")

    for part in ("all", "localpart", "domain"):
        assert holds(f'envelope :{part} :is "from" ""', around=around)


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


def test_variables_are_cut_at_their_limit():
    script = 'require ["variables","fileinto"]; set "a" "123456"; fileinto "${a}";'

    assert actions(script, limits=Limits(variable_characters=4)) == (FileInto("1234"),)


def test_what_ihave_guards_may_be_unknown():
    """RFC 5463 §4."""
    script = 'require "ihave"; if ihave "vnd.x" { nonsense "x"; } else { discard; }'

    assert actions(script) == ()


def test_explain_names_each_test_and_action_with_its_line():
    script = compile_script('if header :contains "to" "acme" {\n  discard;\n}')

    result = script.run(Message(MESSAGE_A), AROUND, explain=True)

    assert result.explained == ("line 1: header is true", "line 2: discard")


def test_hostile_wildcards_cost_steps_and_not_seconds():
    message = b"Subject: " + b"a" * 100_000 + b"\r\n\r\n"
    pattern = "*a" * 200 + "b"

    assert not holds(f'header :matches "subject" "{pattern}"', message)
    assert not holds('header :regex "subject" "^(a+)+$b"', message)


def test_bodies_are_decoded_part_by_part():
    """RFC 5173 §5.2."""
    message = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\npre\r\n--x\r\n"
        b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"5HJnZXI=\r\n--x\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: unknown\r\n\r\n"
        b"<b>bold</b>\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n"
        b"--x--\r\n"
    )

    assert holds('body :comparator "i;unicode-casemap" :contains "ÄRGER"', message)
    assert holds('body :content "text/html" :contains "bold"', message)
    assert holds('body :content "message/rfc822" :contains "inner"', message)
    assert not holds('body :content "text/html" :contains "rger"', message)
    assert holds('body :content "multipart" :contains "pre"', message)


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


def test_hasflag_looks_into_named_variables():
    """RFC 5232 §4."""
    start = 'require ["imap4flags","variables"]; setflag "v" "a \\\\Seen b";'

    assert actions(start + 'if hasflag :contains "v" "see" { discard; }') == ()
    assert actions(start + 'if hasflag "v" ["x", "B"] { discard; }') == ()
    assert actions(start + 'if hasflag "a" { discard; }') == KEPT
    assert actions(start + 'if hasflag :comparator "i;octet" "v" "B" { discard; }') == KEPT


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


def test_a_date_that_cannot_be_read_matches_nothing():
    assert not holds('date "date" "year" "1997"', b"Date: yesterday\r\n\r\n")


def test_what_is_no_address_has_no_parts():
    message = b"From: nobody\r\n\r\n"

    assert holds('address "from" "nobody"', message)
    assert not holds('address :localpart "from" "nobody"', message)


def test_octets_that_are_no_octets_stay_as_they_are_written():
    assert holds('header :is "x" "${hex:123}"', b"X: ${hex:123}\r\n\r\n")


def test_a_test_behind_ihave_is_a_fault_only_when_it_is_reached():
    """RFC 5463 §4."""
    script = 'require "ihave"; if true { discard; stop; } if nonsense "x" { keep; }'

    assert actions(script) == ()
    result = compile_script('require "ihave"; if nonsense {}').run(Message(MESSAGE_A), AROUND)
    assert "no test" in result.fault


def test_what_stands_in_the_wrong_place_is_an_error_behind_ihave_too():
    with pytest.raises(SieveError, match="elsif without if"):
        compile_script('require "ihave"; elsif true {}')


def test_two_tests_of_one_field_agree():
    assert (
        actions('if header "to" "x" {} if header "to" "roadrunner@acme.example.com" { discard; }')
        == ()
    )


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


def test_a_hostile_pattern_of_question_marks_is_broken_off_by_its_cost():
    message = b"Subject: " + b"a" * 100_000 + b"\r\n\r\n"
    script = f'if header :matches "subject" "*?{"a" * 5000}b*" {{ discard; }}'

    result = compile_script(script).run(Message(message), AROUND)

    assert "steps" in result.fault
    assert result.actions == KEPT
