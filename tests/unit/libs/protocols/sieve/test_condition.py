"""The tests of scripts: each with an example of its standard."""

import pytest

from libs.protocols.sieve.run import Surroundings
from tests.unit.libs.protocols.sieve.running import KEPT, actions, holds


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


def test_hasflag_looks_into_named_variables():
    """RFC 5232 §4."""
    start = 'require ["imap4flags","variables"]; setflag "v" "a \\\\Seen b";'

    assert actions(start + 'if hasflag :contains "v" "see" { discard; }') == ()
    assert actions(start + 'if hasflag "v" ["x", "B"] { discard; }') == ()
    assert actions(start + 'if hasflag "a" { discard; }') == KEPT
    assert actions(start + 'if hasflag :comparator "i;octet" "v" "B" { discard; }') == KEPT


def test_a_date_that_cannot_be_read_matches_nothing():
    assert not holds('date "date" "year" "1997"', b"Date: yesterday\r\n\r\n")


def test_what_is_no_address_has_no_parts():
    message = b"From: nobody\r\n\r\n"

    assert holds('address "from" "nobody"', message)
    assert not holds('address :localpart "from" "nobody"', message)


def test_two_tests_of_one_field_agree():
    assert (
        actions('if header "to" "x" {} if header "to" "roadrunner@acme.example.com" { discard; }')
        == ()
    )
