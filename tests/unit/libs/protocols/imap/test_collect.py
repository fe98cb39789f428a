"""Commands out of a stream, in any pieces, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.imap.collect import (
    MAX_COMMAND,
    MAX_LINE,
    MAX_LITERAL,
    MAX_STRANGER_COMMAND,
    MAX_STRANGER_LITERAL,
    Collected,
    Collector,
    Complete,
    Continue,
    Ended,
    Incoming,
    Refused,
)

MAX_APPEND = 100_000


def collector(*, trusted: bool = True) -> Collector:
    made = Collector(MAX_APPEND)
    made.trusted = trusted
    return made


def given_all(made: Collector, data: bytes) -> list[Collected]:
    made.receive(data)
    found = []
    while (one := made.next()) is not None:
        found.append(one)
    return found


def test_a_line_is_a_command() -> None:
    assert given_all(collector(), b"a NOOP\r\nb NOOP\n") == [
        Complete(b"a NOOP\r\n"),
        Complete(b"b NOOP\n"),
    ]


def test_a_literal_is_invited_and_is_part_of_its_command() -> None:
    made = collector(trusted=False)

    assert given_all(made, b"a LOGIN {3}\r\n") == [Continue()]
    assert given_all(made, b"x\r\n {2}\r\n") == [Continue()]
    assert given_all(made, b"pw\r\n") == [Complete(b"a LOGIN {3}\r\nx\r\n {2}\r\npw\r\n")]


def test_a_literal_that_comes_unasked_is_not_invited() -> None:
    assert given_all(collector(trusted=False), b"a LOGIN {1+}\r\nx {1+}\r\ny\r\n") == [
        Complete(b"a LOGIN {1+}\r\nx {1+}\r\ny\r\n")
    ]


@pytest.mark.parametrize("trusted", [False, True])
def test_a_literal_is_refused_by_size_before_it_is_invited(trusted: bool) -> None:
    size = (MAX_LITERAL if trusted else MAX_STRANGER_LITERAL) + 1
    made = collector(trusted=trusted)

    found = given_all(made, b"a LOGIN {%d}\r\n" % size)

    assert isinstance(found[0], Refused)
    assert (found[0].tag, found[0].fatal) == ("a", False)
    assert given_all(made, b"b NOOP\r\n") == [Complete(b"b NOOP\r\n")]


def test_a_large_literal_that_comes_unasked_ends_the_connection() -> None:
    found = given_all(collector(), b"a LOGIN {%d+}\r\n" % (MAX_LITERAL + 1))

    assert isinstance(found[0], Refused)
    assert found[0].fatal


def test_a_stranger_cannot_append() -> None:
    """The size of a message would be no bound at all for somebody who is not known."""
    found = given_all(collector(trusted=False), b"a APPEND INBOX {50000}\r\n")

    assert isinstance(found[0], Refused)


def test_many_small_literals_are_bounded_together() -> None:
    made = collector(trusted=False)
    found: list[Collected] = given_all(made, b"a LOGIN ")
    literal = b"{4000+}\r\n" + b"x" * 4000 + b" "
    for _ in range(3):
        if not found:
            found = given_all(made, literal)

    assert isinstance(found[0], Refused)
    assert found[0].fatal


@pytest.mark.parametrize(("trusted", "most"), [(False, MAX_STRANGER_COMMAND), (True, MAX_LINE)])
def test_a_line_without_an_end_is_refused(trusted: bool, most: int) -> None:
    found = given_all(collector(trusted=trusted), b"a " + b"x" * most)

    assert isinstance(found[0], Refused)
    assert found[0].fatal


@pytest.mark.parametrize("end", [b"\r\n", b" {3+}\r\n", b" {3}\r\n"])
def test_a_whole_line_that_is_too_long_is_refused(end: bytes) -> None:
    """It may come with its end in one piece."""
    found = given_all(collector(), b"a " + b"x" * MAX_COMMAND + end)

    assert isinstance(found[0], Refused)
    assert found[0].fatal == (b"+" in end)


def test_the_message_of_an_append_is_handed_on_in_pieces() -> None:
    made = collector()

    found = given_all(made, b"a APPEND INBOX (\\Seen) {10}\r\n")
    assert found == [Incoming(b"a APPEND INBOX (\\Seen) {10}\r\n", 10, False)]
    assert made.streaming
    assert made.octets() == b""
    made.receive(b"01234")
    assert made.next() is None
    assert made.octets() == b"01234"
    made.receive(b"56789\r\nb NOOP\r\n")
    assert made.octets() == b"56789"
    assert not made.streaming
    assert made.next() == Ended(b"\r\n")
    assert made.next() == Complete(b"b NOOP\r\n")


def test_several_messages_may_follow_each_other() -> None:
    made = collector()

    assert given_all(made, b"a APPEND x {1+}\r\n") == [Incoming(b"a APPEND x {1+}\r\n", 1, True)]
    made.receive(b"1 (\\Seen) {0+}\r\n\r\n")
    assert made.octets() == b"1"
    assert made.next() == Incoming(b" (\\Seen) {0+}\r\n", 0, True)
    assert not made.streaming
    assert made.next() == Ended(b"\r\n")


def test_the_mailbox_name_of_an_append_may_be_a_literal() -> None:
    made = collector()

    assert given_all(made, b"a append {5}\r\n") == [Continue()]
    assert given_all(made, b"INBOX {7}\r\n") == [
        Incoming(b"a append {5}\r\nINBOX {7}\r\n", 7, False)
    ]


def test_a_message_too_large_is_refused_before_it_is_invited() -> None:
    made = collector()

    found = given_all(made, b"a APPEND x {%d}\r\nb NOOP\r\n" % (MAX_APPEND + 1))

    assert isinstance(found[0], Refused)
    assert (found[0].code, found[0].fatal) == ("TOOBIG", False)
    assert found[1] == Complete(b"b NOOP\r\n")


def test_an_append_that_was_refused_is_forgotten() -> None:
    made = collector()
    given_all(made, b"a APPEND x {10}\r\n")

    made.forget()

    assert given_all(made, b"b NOOP\r\n") == [Complete(b"b NOOP\r\n")]


def test_a_tag_that_is_none_is_never_repeated() -> None:
    found = given_all(collector(), b"x\r* BYE {999999999}\r\n")

    assert isinstance(found[0], Refused)
    assert found[0].tag == ""


def test_lines_that_are_no_commands_are_taken_as_they_are() -> None:
    made = collector()
    made.receive(b"DO")
    assert made.take_line() is None
    made.receive(b"NE\r\na NO")

    assert made.take_line() == b"DONE\r\n"
    assert made.waiting == 4


def test_nothing_survives_starttls() -> None:
    made = collector()
    made.receive(b"b LOGIN {5}\r\nab")
    made.next()

    made.clear()

    assert made.waiting == 0
    assert given_all(made, b"c NOOP\r\n") == [Complete(b"c NOOP\r\n")]


PIECES = st.lists(
    st.sampled_from(
        [b"a APPEND x ", b"{5+}\r\n", b"{3}\r\n", b"hello", b"\r\n", b"a NOOP", b" ", b'"', b"\0",
         b"{99999999}\r\n", b"(", b"{-1}", b"\n", b"{0+}\r\n"]
    ) | st.binary(max_size=5),
    max_size=40,
)  # fmt: skip


def events(data: list[bytes], trusted: bool) -> list[object]:
    made, found = collector(trusted=trusted), list[object]()
    message = b""
    for piece in data:
        made.receive(piece)
        while True:
            if made.streaming:
                taken = made.octets()
                message += taken
                if not taken:
                    break
            if not made.streaming and message:
                found.append(message)
                message = b""
            one = made.next()
            if one is None:
                if made.streaming and made.waiting:
                    continue
                break
            found.append(one)
            if isinstance(one, Refused) and one.fatal:
                return found
    return found


@given(PIECES, st.booleans())
def test_what_comes_out_does_not_depend_on_the_pieces(pieces: list[bytes], trusted: bool) -> None:
    whole = b"".join(pieces)

    assert events([whole], trusted) == events(
        [whole[i : i + 1] for i in range(len(whole))], trusted
    )
