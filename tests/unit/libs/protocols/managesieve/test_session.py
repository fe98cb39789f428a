"""The ManageSieve session, by octets alone (RFC 5804)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.managesieve.event import (
    Authenticate,
    Capability,
    CheckScript,
    DeleteScript,
    Event,
    GetScript,
    HaveSpace,
    ListScripts,
    Logout,
    PutScript,
    RenameScript,
    SaslAnswer,
    SetActive,
    StartTls,
)
from libs.protocols.managesieve.session import MAX_SKIPPED, ServerSession, State
from libs.protocols.managesieve.wire import response, string

MOST = 1000


def events(session: ServerSession, data: bytes) -> list[Event]:
    session.receive(data)
    found = []
    while (event := session.next_event()) is not None:
        found.append(event)
    return found


def inside() -> ServerSession:
    session = ServerSession(MOST)
    session.begin()
    return session


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"capability\r\n", Capability()),
        (b"STARTTLS\r\n", StartTls()),
        (b"Logout\r\n", Logout()),
        (b'AUTHENTICATE "plain"\r\n', Authenticate("PLAIN", None)),
        (b'AUTHENTICATE "PLAIN" "AHg="\r\n', Authenticate("PLAIN", b"AHg=")),
        (b'AUTHENTICATE "PLAIN" {4+}\r\nAHg=\r\n', Authenticate("PLAIN", b"AHg=")),
    ],
)
def test_commands_before_the_login(line: bytes, event: Event) -> None:
    assert events(ServerSession(MOST), line) == [event]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'HAVESPACE "myscript" 999999\r\n', HaveSpace("myscript", 999999)),
        (b'PUTSCRIPT "foo" {5+}\r\nkeep;\r\n', PutScript("foo", b"keep;")),
        (b'PUTSCRIPT {3+}\r\nfoo "keep;"\r\n', PutScript("foo", b"keep;")),
        (b"CHECKSCRIPT {2}\r\n\r\n\r\n", CheckScript(b"\r\n")),
        (b"LISTSCRIPTS\n", ListScripts()),
        (b'SETACTIVE ""\r\n', SetActive("")),
        (b'GETSCRIPT "a\\"b\\\\c"\r\n', GetScript('a"b\\c')),
        ('DELETESCRIPT "köln"\r\n'.encode(), DeleteScript("köln")),
        (b'RENAMESCRIPT "a" "b"\r\n', RenameScript("a", "b")),
    ],
)
def test_commands_after_the_login(line: bytes, event: Event) -> None:
    assert events(inside(), line) == [event]


@pytest.mark.parametrize(
    "line",
    [
        b'PUTSCRIPT "foo" {31+}\r\n#comment\r\n"{5+}\r\nkeep;\r\nNOOP\r\n\r\nLISTSCRIPTS\r\n',
    ],
)
def test_a_command_is_the_same_however_it_comes(line: bytes) -> None:
    whole = events(inside(), line)
    session = inside()
    single = [e for n in range(len(line)) for e in events(session, line[n : n + 1])]

    assert len(whole) == 2
    assert single == whole


@pytest.mark.parametrize(
    "line",
    [
        b"LISTSCRIPTS\r\n",
        b"UNKNOWN\r\n",
        b"AUTHENTICATE\r\n",
        b"AUTHENTICATE PLAIN\r\n",
        b'"LOGOUT"\r\n',
        b"\r\n",
        b"CAPABILITY now\r\n",
        b'AUTHENTICATE "PLAIN""x"\r\n',
        b"CAPABILITY %\r\n",
        b'AUTHENTICATE "' + b"x" * 1025 + b'"\r\n',
    ],
)
def test_what_is_no_command_here_is_refused_and_counted(line: bytes) -> None:
    session = ServerSession(MOST)

    assert events(session, line + b"LOGOUT\r\n") == [Logout()]
    assert session.data_to_send().startswith(b"NO ")
    assert session.mistakes == 1


@pytest.mark.parametrize(
    "line",
    [
        b'HAVESPACE "x" "1"\r\n',
        b"SETACTIVE 1\r\n",
        b"GETSCRIPT {2+}\r\n\xff\xff\r\n",
        b'AUTHENTICATE "PLAIN"\r\n',
        b"STARTTLS\r\n",
    ],
)
def test_the_same_after_the_login(line: bytes) -> None:
    session = inside()

    assert events(session, line) == []
    assert session.data_to_send().startswith(b"NO ")


def test_a_literal_is_never_taken_for_commands() -> None:
    """A line that is not understood, with a literal on it: the octets behind are the literal's."""
    session = inside()

    assert events(session, b'% {10+}\r\nDELETESCRIPT "a"\r\n') == []
    assert session.data_to_send().startswith(b"BYE ")
    assert session.state is State.CLOSED


def test_a_script_that_is_too_large_is_passed_over() -> None:
    session = inside()
    large = b'PUTSCRIPT "a" {1001+}\r\n' + b"x" * 1001 + b"\r\n"

    found = [e for n in range(0, len(large), 100) for e in events(session, large[n : n + 100])]

    assert found == []
    assert session.data_to_send().startswith(b"NO (QUOTA/MAXSIZE) ")
    assert events(session, b"LISTSCRIPTS\r\n") == [ListScripts()]


@pytest.mark.parametrize("octets", [MAX_SKIPPED + 1, 9_999_999_999])
def test_behind_what_is_much_too_large_we_hang_up(octets: int) -> None:
    session = inside()

    events(session, b'PUTSCRIPT "a" {%d+}\r\n' % octets)

    assert session.data_to_send().startswith(b"BYE (QUOTA/MAXSIZE) ")


@pytest.mark.parametrize("data", [b'AUTHENTICATE "PLAIN" {4097+}\r\n', b"x" * 20_000])
def test_who_is_not_logged_in_is_given_little_room(data: bytes) -> None:
    session = ServerSession(MOST)

    events(session, data)

    assert session.state is State.CLOSED
    assert session.data_to_send().startswith(b"BYE ")


@pytest.mark.parametrize(
    ("line", "answer"), [(b'"AHg="\r\n', b"AHg="), (b'"*"\r\n', b"*"), (b"{0+}\r\n\r\n", b"")]
)
def test_answers_to_challenges(line: bytes, answer: bytes) -> None:
    session = ServerSession(MOST)
    session.challenge(b"cnNw")

    assert session.data_to_send() == b'"cnNw"\r\n'
    assert events(session, line) == [SaslAnswer(answer)]
    session.no("wrong")
    assert events(session, b"LOGOUT\r\n") == [Logout()]


@pytest.mark.parametrize("line", [b"LOGOUT\r\n", b'"a" "b"\r\n', b"%\r\n", b"\r\n"])
def test_what_is_no_answer_ends_the_connection(line: bytes) -> None:
    session = ServerSession(MOST)
    session.challenge(b"")

    assert events(session, line) == []
    assert session.state is State.CLOSED


def test_what_was_said_before_tls_is_forgotten() -> None:
    session = ServerSession(MOST)
    session.receive(b"CAPABILITY\r\nLOGOUT\r\n")

    session.restart()

    assert session.next_event() is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"NOOP\r\n", b'OK "done"\r\n'),
        (b'NOOP "STARTTLS-SYNC-42"\r\n', b'OK (TAG "STARTTLS-SYNC-42") "done"\r\n'),
    ],
)
def test_noop_gives_its_tag_back(line: bytes, said: bytes) -> None:
    session = ServerSession(MOST)

    assert events(session, line) == []
    assert session.data_to_send() == said


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("a\r\nb", b"{4}\r\na\r\nb"),
        ("é" * 600, b"{1200}\r\n" + "é".encode() * 600),
    ],
)
def test_strings_are_quoted_where_they_can_be(text: str, octets: bytes) -> None:
    assert string(text) == octets


def test_a_response_may_have_a_code_and_a_text() -> None:
    assert response("OK") == b"OK\r\n"
    assert response("NO", "there is", "NONEXISTENT") == b'NO (NONEXISTENT) "there is"\r\n'


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
def test_no_octets_break_the_session(chunks: list[bytes], logged_in: bool) -> None:
    session = inside() if logged_in else ServerSession(MOST)

    for chunk in chunks:
        events(session, chunk)

    assert session.state in State
