"""mbox, against itself and the standard library."""

from __future__ import annotations

import mailbox
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.mailfile.lines import Plain, ToCrlf, ToLf
from libs.protocols.mailfile.mbox import (
    Begin,
    End,
    NotMboxError,
    Quoter,
    Quoting,
    Reader,
    date_of,
    fields,
    from_line,
)

Message = tuple[Begin, bytes]


def read(raw: bytes, quoting: Quoting = Quoting.RD, step: int = 1 << 20) -> list[Message]:
    """The messages of a file that comes in blocks of `step` octets."""
    reader = Reader(quoting)
    found: list[Message] = []
    begin, parts = None, []
    events = [e for at in range(0, len(raw), step) for e in reader.feed(raw[at : at + step])]
    for event in [*events, *reader.end()]:
        match event:
            case Begin():
                begin, parts = event, []
            case End():
                assert begin is not None
                found.append((begin, b"".join(parts)))
            case block:
                parts.append(block)
    return found


def written(content: bytes, begin: Begin, quoting: Quoting = Quoting.RD, step: int = 3) -> bytes:
    """One message as the file has it, written in blocks of so many octets."""
    plain, to_lf, quoter = Plain(), ToLf(), Quoter(quoting)
    blocks = [content[at : at + step] for at in range(0, len(content), step)]
    for block in blocks:
        plain.feed(block)
    if plain.so_far:
        blocks = [*map(to_lf.feed, blocks), to_lf.end()]
    octets = b"".join([*map(quoter.feed, blocks), quoter.end()])
    is_open = not octets.endswith(b"\n")
    head = fields(begin, kept=not plain.so_far, open_end=is_open)
    return from_line(begin.date or 0) + head + octets + (b"\n\n" if is_open else b"\n")


LINES = st.sampled_from(
    b"From a b|From x Mon Jan  5 10:00:00 2026|>From |>>From |Status: RO||X-UID: 7|Subject: x|text"
    b"|\r|X-Line-Ends: kept open".split(b"|")
)
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r", b""])
CONTENTS = st.lists(st.tuples(LINES, ENDS), max_size=9).map(
    lambda parts: b"".join(line + end for line, end in parts)
)
CRLF = st.lists(LINES, max_size=9).map(lambda lines: b"".join(line + b"\r\n" for line in lines))


@given(
    st.lists(st.tuples(st.one_of(CONTENTS, CRLF), st.integers(1, 2**32 - 1)), max_size=4),
    st.integers(1, 90),
)
def test_what_mboxrd_keeps_comes_back_octet_for_octet(
    messages: list[tuple[bytes, int]], step: int
) -> None:
    begins = [Begin(n * 86400, "ROF", "a b", uid, 0) for n, (_, uid) in enumerate(messages)]
    raw = b"".join(written(c, b) for (c, _), b in zip(messages, begins, strict=True))

    found = read(raw, step=step)

    assert [content for _, content in found] == [content for content, _ in messages]
    assert [begin for begin, _ in found] == begins


def test_the_standard_library_reads_what_is_written(tmp_path: Path) -> None:
    content = b"Subject: one\r\n\r\nFrom here\r\n>From there\r\nend\r\n"
    raw = written(content, Begin(1767607200, "RAF", "", 5, 99)) + written(
        b"Subject: two\r\n\r\nlast", Begin(0, "", "", 6, 0)
    )
    (tmp_path / "box").write_bytes(raw)

    box = mailbox.mbox(tmp_path / "box")

    assert [message["Subject"] for message in box] == ["one", "two"]
    assert "".join(sorted(box[0].get_flags())) == "AFOR"
    assert box[0].get_from() == "MAILER-DAEMON Mon Jan  5 10:00:00 2026"
    assert box[0]["X-UID"] == "5"
    assert box[0].get_payload() == ">From here\n>>From there\nend\n"


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_what_the_standard_library_writes_is_read(tmp_path: Path, step: int) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for number in range(3):
        message = mailbox.mboxMessage(f"Subject: {number}\n\nFrom me\nbody\n")
        message.set_flags("RF" if number else "")
        message.set_from("ann@other.test", (2026, 1, number + 5, 10, 0, 0, 0, 0, 0))
        box.add(message)
    box.close()

    found = read((tmp_path / "box").read_bytes(), Quoting.O, step)

    # Its Status fields are its own, and stay.
    assert [content.split(b"\r\n")[0] for _, content in found] == [
        b"Subject: 0",
        b"Subject: 1",
        b"Subject: 2",
    ]
    assert all(content.endswith(b"\r\n\r\nFrom me\r\nbody\r\n") for _, content in found)
    assert [begin.status for begin, _ in found] == ["", "RF", "RF"]
    assert [begin.date for begin, _ in found] == [1767607200 + n * 86400 for n in range(3)]


def test_mboxo_cannot_tell_whether_a_mark_was_there() -> None:
    content = b"\r\n>From a\r\nFrom b\r\n>>From c\r\n"

    (found,) = read(written(content, Begin(0, "", "", 1, 0), Quoting.O), Quoting.O)

    assert found[1] == b"\r\nFrom a\r\nFrom b\r\n>>From c\r\n"


def test_a_from_line_needs_a_blank_line_and_a_date() -> None:
    raw = (
        b"From a Mon Jan  5 10:00:00 2026\nSubject: x\n\ntext\n"
        b"From b Mon Jan  5 10:00:00 2026\n\nFrom now on\n\nFrom c Mon Feb 31 10:00:00 2026\n"
    )

    assert len(read(raw)) == 1


def test_files_of_crlf_are_read_as_they_are() -> None:
    raw = (
        b"From a Mon Jan  5 10:00:00 2026\r\nSubject: x\r\nX-Status: A\r\n\r\ntext\r\n\r\n"
        b"From b Mon Jan  5 10:00 UTC 2026\r\n\r\nmore\r\n"
    )

    found = read(raw)

    assert [c for _, c in found] == [b"Subject: x\r\nX-Status: A\r\n\r\ntext\r\n", b"\r\nmore\r\n"]
    assert [b.status for b, _ in found] == ["A", ""]
    assert found[1][0].date == 1767607200


def test_a_file_with_lf_may_have_a_cr_at_the_end_of_a_block() -> None:
    raw = b"From a Mon Jan  5 10:00:00 2026\nSubject: x\n\na\r\nb\n"

    ((_, content),) = read(raw, step=1)

    assert content == b"Subject: x\r\n\r\na\r\nb\r\n"


def test_crlf_may_be_split_between_blocks() -> None:
    lines = ToCrlf()

    assert [lines.feed(b) for b in (b"a\n", b"b\r", b"\nc\n")] == [b"a\r\n", b"b\r", b"\nc\r\n"]


def test_what_looks_like_a_from_line_within_a_long_line_is_none() -> None:
    content = b"x" * (1 << 20) + b"From a Mon Jan  5 10:00:00 2026\r\n"

    ((_, found),) = read(written(content, Begin(0, "", "", 1, 0), step=1 << 20), step=1 << 16)

    assert found == content


def test_the_uidvalidity_is_told_with_the_first_message() -> None:
    raw = written(b"a\r\n", Begin(0, "", "", 3, 1234)) + b"From \n\nX-UID: a\n"

    (first, _), *_ = read(raw)

    assert (first.uidvalidity, first.uid) == (1234, 3)


def test_a_line_longer_than_a_block_is_one_line() -> None:
    content = b"From " + b"x" * 3_000_000 + b"\r\nFrom y\r\n" + b"z" * 2_100_000
    raw = written(content, Begin(0, "", "", 1, 0), step=1 << 16)

    ((_, found),) = read(raw, step=1 << 16)

    assert found == content


def test_a_header_without_end_is_passed_on() -> None:
    content = b"".join(b"X-%d: y\r\n" % n for n in range(40_000))

    ((begin, found),) = read(written(content, Begin(0, "R", "", 1, 0), step=4096), step=4096)

    assert found == content
    assert begin.status == "RO"


@pytest.mark.parametrize("raw", [b"Subject: x\n\n", b"\nFrom a\n", b"x" * 2_000_000])
def test_another_file_is_refused(raw: bytes) -> None:
    with pytest.raises(NotMboxError):
        read(raw)


def test_an_empty_file_has_no_messages() -> None:
    assert read(b"") == []


@pytest.mark.parametrize("line", [b"From a", b"From a Mon Jan 45 10:00:00 2026"])
def test_a_line_without_a_date_has_none(line: bytes) -> None:
    assert date_of(line) is None


HARD: dict[str, Callable[[int], bytes]] = {
    "marked lines of a header": lambda size: b"From a\n" + b">From \n" * (size // 7),
    "blanks of a field": lambda size: b"From a\nStatus:" + b" " * size + b"\rx\n\n",
}


@pytest.mark.parametrize("shape", HARD)
def test_work_grows_with_the_size_of_a_file_not_with_its_square(shape: str) -> None:
    """Sixteen times the octets would take 256 times as long; whoever uploads mail could do it."""
    small, large = (HARD[shape](size) for size in (15_000, 240_000))

    assert _seconds(large) < 64 * _seconds(small)


def _seconds(raw: bytes) -> float:
    """Of the processor, at its best."""
    taken = []
    for _ in range(3):
        start = process_time()
        assert len(read(raw)) == 1
        taken.append(process_time() - start)
    return min(taken)
