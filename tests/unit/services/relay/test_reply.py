from __future__ import annotations

import pytest

from services.relay.reply import MAX_LINE, MAX_LINES, Answer, ReplyError, ReplyReader


def read(data: bytes) -> list[Answer]:
    reader = ReplyReader()
    reader.receive(data)
    answers = []
    while answer := reader.next_answer():
        answers.append(answer)
    return answers


def test_replies_are_read_one_after_the_other() -> None:
    assert read(b"250-one\r\n250 two\r\n354 go\r\n25") == [
        Answer(250, ("one", "two")),
        Answer(354, ("go",)),
    ]


def test_replies_are_the_same_however_they_are_cut() -> None:
    whole = b"250-mx.test\r\n250-SIZE 10\r\n250 8BITMIME\r\n421 4.3.2 bye\r\n"
    reader, answers = ReplyReader(), []
    for octet in whole:
        reader.receive(bytes([octet]))
        while answer := reader.next_answer():
            answers.append(answer)

    assert answers == read(whole)
    assert not reader.pending


def test_a_code_alone_is_a_reply() -> None:
    assert read(b"250\n") == [Answer(250, ("",))]


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"199 x\r\n",
        b"250_x\r\n",
        b"250-a\r\n251 b\r\n",
        b"\r\n",
        b"250 " + b"x" * (MAX_LINE + 10),
        b"250 " + b"x" * (MAX_LINE + 10) + b"\r\n",
        b"250-x\r\n" * (MAX_LINES + 1),
    ],
)
def test_what_is_no_reply_ends_the_conversation(data: bytes) -> None:
    with pytest.raises(ReplyError):
        read(data)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(550, ("5.1.1 nobody",)), "5.1.1"),
        (Answer(450, ("4.2.1",)), "4.2.1"),
        (Answer(550, ("4.1.1 contradicts itself",)), "5.0.0"),
        (Answer(451, ("later",)), "4.0.0"),
        (Answer(354, ("go",)), "3.0.0"),
    ],
)
def test_the_status_is_believed_when_it_agrees_with_the_code(answer: Answer, status: str) -> None:
    assert answer.status == status


def test_control_characters_do_not_reach_a_log() -> None:
    assert str(read(b"550 a\x1b[2J\0\xffb\r\n")[0]).isprintable()
