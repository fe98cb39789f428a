"""SEARCH criteria become a tree."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs.protocols.imap.parse import LAST, ParseError, Parser
from libs.protocols.imap.partial import Partial
from libs.protocols.imap.search import (
    MAX_DEPTH,
    MAX_KEYS,
    All,
    And,
    Day,
    EmailId,
    HasFlag,
    InSet,
    Key,
    ModSeq,
    Not,
    Or,
    Results,
    Saved,
    Size,
    Text,
    Within,
    parse_search,
)


def key(text: str) -> Key:
    return parse_search(Parser(text.encode() + b"\r\n")).key


def day(year: int, month: int, number: int) -> float:
    return datetime(year, month, number, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("ALL", All()),
        ("old", All()),
        ("NEW", Not(All())),
        ("RECENT", Not(All())),
        ("SEEN", HasFlag("\\Seen")),
        ("UNSEEN", Not(HasFlag("\\Seen"))),
        ("KEYWORD $Work", HasFlag("$Work")),
        ("UNKEYWORD $Work", Not(HasFlag("$Work"))),
        ("1:3,*", InSet(((1, 3), (LAST, LAST)), False)),
        ("UID 7", InSet(((7, 7),), True)),
        ("SUBJECT x", Text("subject", b"x")),
        ('BODY "a b"', Text("BODY", b"a b")),
        ("TEXT x", Text("TEXT", b"x")),
        ('HEADER X-Thing ""', Text("x-thing", b"", True)),
        ("LARGER 10", Size(True, 10)),
        ("SMALLER 10", Size(False, 10)),
        ("SINCE 1-Feb-2026", Day("SINCE", day(2026, 2, 1))),
        ('SENTON "28-feb-2026"', Day("ON", day(2026, 2, 28), "sent")),
        ("MODSEQ 9", ModSeq(9)),
        ('MODSEQ "/flags/\\draft" all 620', ModSeq(620)),
        ("NOT SEEN", Not(HasFlag("\\Seen"))),
        ("SAVEDSINCE 1-Feb-2026", Day("SINCE", day(2026, 2, 1), "saved")),
        ("YOUNGER 60", Within(False, 60)),
        ("OLDER 60", Within(True, 60)),
        ("$", Saved()),
        ("UID $", Saved()),
        ("EMAILID M1-a", EmailId("M1-a")),
        ("SAVEDATESUPPORTED", All()),
        ("OR SEEN 1", Or(HasFlag("\\Seen"), InSet(((1, 1),), False))),
        ("(SEEN ALL)", And((HasFlag("\\Seen"), All()))),
        ("SEEN (ALL)", And((HasFlag("\\Seen"), All()))),
    ],
)
def test_each_key_has_its_place_in_the_tree(text: str, tree: Key) -> None:
    assert key(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "", "NONSENSE", "SEEN ", "NOT", "OR SEEN", "(SEEN", "SINCE 31-Feb-2026", "SINCE 1-Foo-2026",
        "SINCE yesterday", "LARGER x", "UID", "KEYWORD", "SUBJECT", "HEADER x", "MODSEQ",
        "ALL)", "RETURN (NONSENSE) ALL", "RETURN (PARTIAL 1:2 ALL) ALL", "OLDER 0", "EMAILID",
        "RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL", "RETURN (PARTIAL 1) ALL", "YOUNGER x",
        "RETURN (COUNT ALL", "RETURN (COUNT)",
        "UNNONSENSE",
    ],
)  # fmt: skip
def test_what_is_no_search_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        key(text)


@pytest.mark.parametrize("open_", ["(", "NOT "])
def test_depth_is_bounded(open_: str) -> None:
    close = ")" if open_ == "(" else ""

    key(open_ * MAX_DEPTH + "ALL" + close * MAX_DEPTH)
    with pytest.raises(ParseError, match="deep"):
        key(open_ * 20_000 + "ALL")


def test_the_number_of_keys_is_bounded() -> None:
    key(" ".join(["ALL"] * MAX_KEYS))
    with pytest.raises(ParseError, match="keys"):
        key(" ".join(["ALL"] * (MAX_KEYS + 1)))


@pytest.mark.parametrize(
    ("text", "results", "charset"),
    [
        ("ALL", None, ""),
        ("CHARSET utf-8 ALL", None, "UTF-8"),
        ("RETURN () ALL", Results(("ALL",)), ""),
        ("return (min max) charset US-ASCII ALL", Results(("MIN", "MAX")), "US-ASCII"),
        ("RETURN (COUNT COUNT) ALL", Results(("COUNT",)), ""),
        ("RETURN (SAVE) ALL", Results(("SAVE",)), ""),
        ("RETURN (PARTIAL -1:-9) ALL", Results(("PARTIAL",), Partial(1, 9, True)), ""),
    ],
)
def test_results_and_charset_come_first(text: str, results: Results | None, charset: str) -> None:
    found = parse_search(Parser(text.encode()))

    assert (found.results, found.charset, found.key) == (results, charset, All())
