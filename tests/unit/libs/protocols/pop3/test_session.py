"""A POP3 session by its octets alone."""

from __future__ import annotations

import pytest

from libs.protocols.pop3.event import (
    Auth,
    Capa,
    Dele,
    Event,
    List,
    Login,
    Quit,
    Retr,
    Rset,
    SaslLine,
    Stat,
    Stls,
    Top,
    Uidl,
)
from libs.protocols.pop3.reply import Stuffer, TopLines, err, listing, ok
from libs.protocols.pop3.session import MAX_LINE, ServerSession, State


def said(session: ServerSession, text: bytes, *, by: int = 0) -> list[Event]:
    """The events of these octets, given in pieces of `by` octets."""
    found: list[Event] = []
    for start in range(0, len(text), by or len(text)):
        session.receive(text[start : start + (by or len(text))])
        while (event := session.next_event()) is not None:
            found.append(event)
    return found


@pytest.fixture
def session() -> ServerSession:
    return ServerSession()


@pytest.fixture
def logged_in() -> ServerSession:
    session = ServerSession()
    session.begin()
    return session


@pytest.mark.parametrize("by", [0, 1, 7])
def test_a_login_is_one_event(session: ServerSession, by: int) -> None:
    assert said(session, b"USER a@b.test\r\nPASS two words \r\n", by=by) == [
        Login(b"a@b.test", b"two words ")
    ]
    assert session.data_to_send() == b"+OK now the password\r\n"


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"CAPA", Capa()),
        (b"stls", Stls()),
        (b"AUTH PLAIN", Auth("PLAIN", None)),
        (b"AUTH plain AGEAYg==", Auth("PLAIN", b"AGEAYg==")),
        (b"QUIT", Quit()),
    ],
)
def test_commands_before_the_login(session: ServerSession, line: bytes, event: Event) -> None:
    assert said(session, line + b"\r\n") == [event]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"STAT", Stat()),
        (b"LIST", List(None)),
        (b"LIST 2", List(2)),
        (b"UIDL", Uidl(None)),
        (b"UIDL 3", Uidl(3)),
        (b"RETR 1", Retr(1)),
        (b"top 1 0", Top(1, 0)),
        (b"DELE 9", Dele(9)),
        (b"RSET", Rset()),
        (b"CAPA", Capa()),
    ],
)
def test_commands_after_the_login(logged_in: ServerSession, line: bytes, event: Event) -> None:
    assert said(logged_in, line + b"\r\n") == [event]


@pytest.mark.parametrize(
    "line",
    [
        b"STAT",
        b"RETR 1",
        b"PASS x",
        b"USER",
        b"AUTH",
        b"AUTH !",
        b"CAPA x",
        b"NONSENSE",
        b"",
        b"LANG xx",
        b"\xff\xfe",
    ],
)
def test_what_has_no_place_is_refused(session: ServerSession, line: bytes) -> None:
    assert said(session, line + b"\r\n") == []
    assert session.data_to_send().startswith(b"-ERR ")
    assert session.mistakes == 1


@pytest.mark.parametrize(
    "line",
    [b"USER a", b"STLS", b"RETR", b"RETR -1", b"RETR x", b"TOP 1", b"TOP 1 2 3", b"DELE 1 2"],
)
def test_what_has_no_place_after_the_login(logged_in: ServerSession, line: bytes) -> None:
    assert said(logged_in, line + b"\r\n") == []
    assert logged_in.data_to_send().startswith(b"-ERR ")


def test_answers_that_need_no_decision(session: ServerSession) -> None:
    assert said(session, b"LANG\r\nLANG en-GB\r\nLANG *\r\nUTF8\r\n") == []
    assert session.data_to_send() == (
        b"+OK languages\r\nen English\r\n.\r\n+OK en\r\n+OK en\r\n+OK UTF-8\r\n"
    )
    session.begin()
    said(session, b"NOOP\r\n")
    assert session.data_to_send() == b"+OK\r\n"


def test_a_sasl_answer_is_a_line_of_its_own(session: ServerSession) -> None:
    said(session, b"AUTH PLAIN\r\n")
    session.challenge(b"")

    assert session.data_to_send() == b"+ \r\n"
    assert said(session, b"AGEAYg==\r\n") == [SaslLine(b"AGEAYg==")]
    session.refuse("no", "AUTH")
    assert session.state is State.AUTHORIZATION
    assert session.data_to_send() == b"-ERR [AUTH] no\r\n"


@pytest.mark.parametrize("text", [b"x" * (MAX_LINE + 1), b"USER " + b"x" * MAX_LINE + b"\r\n"])
def test_a_line_without_end_closes_the_session(session: ServerSession, text: bytes) -> None:
    assert said(session, text) == []
    assert session.state is State.CLOSED
    assert session.data_to_send() == b"-ERR the line is too long\r\n"


def test_tls_forgets_what_was_said_before(session: ServerSession) -> None:
    session.receive(b"USER a\r\nSTLS\r\nPASS injected\r\n")
    assert session.next_event() == Stls()
    session.restart()

    assert session.next_event() is None
    assert said(session, b"PASS x\r\n") == []


def test_pipelined_commands_come_in_their_order(logged_in: ServerSession) -> None:
    assert said(logged_in, b"STAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n") == [
        Stat(), Retr(1), Dele(1), Quit(),
    ]  # fmt: skip


def test_replies() -> None:
    assert ok() == b"+OK\r\n"
    assert err("no", "IN-USE") == b"-ERR [IN-USE] no\r\n"
    assert listing("x", ["a", "b"]) == b"+OK x\r\na\r\nb\r\n.\r\n"


CONTENTS = [
    (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
    (b".a\r\n..b\r\n", b"..a\r\n...b\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b"", b".\r\n"),
    (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\n.\r\n-ERR\r\n", b"a\r\n..\r\n-ERR\r\n.\r\n"),
    (b"a\r.\r\n", b"a\r.\r\n.\r\n"),
    (b"a\r", b"a\r\n.\r\n"),
    (b"\n\n", b"\r\n\r\n.\r\n"),
]


@pytest.mark.parametrize("by", [1, 2, 3, 100])
@pytest.mark.parametrize(("content", "sent"), CONTENTS)
def test_content_is_stuffed_whatever_the_pieces(content: bytes, sent: bytes, by: int) -> None:
    stuffer = Stuffer()
    pieces = [content[i : i + by] for i in range(0, len(content), by)]

    assert b"".join([*map(stuffer.feed, pieces), stuffer.end()]) == sent


@pytest.mark.parametrize("by", [1, 3, 100])
@pytest.mark.parametrize(
    ("lines", "left"),
    [(0, b"A: b\r\n\r\n"), (1, b"A: b\r\n\r\none\r\n"), (9, b"A: b\r\n\r\none\r\ntwo")],
)
def test_top_ends_after_its_lines(lines: int, left: bytes, by: int) -> None:
    content = b"A: b\r\n\r\none\r\ntwo"
    cut, found = TopLines(8, lines), b""
    for i in range(0, len(content), by):
        if not cut.done:
            found += cut.feed(content[i : i + by])

    assert found == left
