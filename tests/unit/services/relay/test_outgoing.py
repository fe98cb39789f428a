from __future__ import annotations

import random

import pytest

from libs.common.jobs import Client, Envelope, Origin, Recipient, RecordHeader
from libs.protocols.smtp.data import stuff
from services.relay.outgoing import DotWriter, outgoing_head, split_head


def written(content: bytes, cuts: list[int] | None = None) -> bytes:
    writer, at, out = DotWriter(), 0, b""
    for cut in [*(cuts or []), len(content)]:
        out += writer.feed(content[at:cut])
        at = cut
    return out + writer.finish()


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n"),
        (b"a\n.\nb\r.\rc", b"a\r\n..\r\nb\r\n..\r\nc\r\n"),
        (b"a\r", b"a\r\n"),
        (b"a\r\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_every_line_ends_with_crlf_and_no_dot_stands_alone(content: bytes, wire: bytes) -> None:
    assert written(content) == wire


def test_where_the_blocks_are_cut_makes_no_difference() -> None:
    source = random.Random(7)
    for _ in range(3000):
        content = bytes(source.choices(b".\r\na", k=source.randrange(1, 14)))
        cuts = sorted(source.randrange(len(content) + 1) for _ in range(3))

        wire = written(content, cuts)

        assert wire == written(content)
        bare = wire.replace(b"\r\n", b"")
        assert b"\r" not in bare
        assert b"\n" not in bare
        assert b"\r\n.\r\n" not in b"\r\n" + wire


def test_good_content_is_written_as_ingress_reads_it() -> None:
    content = b".a\r\n\r\n.\r\nb..\r\n"

    assert written(content) + b".\r\n" == stuff(content)


def header(**fields: object) -> RecordHeader:
    values: dict[str, object] = {
        "client": Client("192.0.2.1", helo="mx.other.test"),
        "hostname": "mail.example.test",
    }
    envelope = Envelope("a@example.test", (Recipient(0, "b@other.test"),))
    return RecordHeader("0190-id", 1_700_000_000.0, envelope, **(values | fields))  # type: ignore[arg-type]


HEAD = b"From: a\r\nBCC: secret@x\r\n\tand@y\r\nSubject: s\r\n\r\n"


def test_our_received_field_stands_first_and_names_no_recipient() -> None:
    head = outgoing_head(header(), HEAD)

    assert head.startswith(b"Received: from mx.other.test ([192.0.2.1])")
    assert b"0190-id" in head
    assert b"b@other.test" not in head
    assert head.endswith(HEAD)


def test_what_is_submitted_loses_its_bcc_and_gets_date_and_message_id() -> None:
    head = outgoing_head(header(client=Client("192.0.2.1", helo="pc", account=7)), HEAD)

    assert b"secret" not in head
    assert b"and@y" not in head
    assert head.endswith(b"From: a\r\nSubject: s\r\n\r\n")
    assert b"Message-ID: <0190-id@mail.example.test>\r\n" in head
    assert b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n" in head


def test_what_is_complete_is_not_completed() -> None:
    full = b"Date: x\r\nMessage-Id: <y>\r\n\r\n"

    assert outgoing_head(header(client=Client(account=7)), full).endswith(b"\r\n" + full)


def test_a_report_of_ours_begins_here() -> None:
    assert outgoing_head(header(origin=Origin.DSN), HEAD) == HEAD


@pytest.mark.parametrize(
    ("content", "head"),
    [(b"A: b\r\n\r\ntext", b"A: b\r\n\r\n"), (b"A: b\r\n", b"A: b\r\n"), (b"\r\nx", b"\r\n")],
)
def test_head_and_rest_are_all_there_is(content: bytes, head: bytes) -> None:
    assert split_head(content) == (head, content[len(head) :])
