"""The bytes that leave: the header section as others may see it, line ends, dots.

Pure: bytes in, bytes out.  The stored content is never changed; this is what goes on the wire.
"""

from __future__ import annotations

from libs.common.jobs import Origin, RecordHeader
from libs.protocols.message.date import format_date
from libs.protocols.message.header import header_end, parse_header
from libs.protocols.message.received import received_field


def outgoing_head(header: RecordHeader, head: bytes) -> bytes:
    """The header section with our Received field before it.

    `head` is the section as it was received, with its blank line.  What an account submitted
    gets the Date and the Message-ID that it lacks (RFC 6409 §8.2, §8.3), and loses its Bcc.
    """
    submitted = header.client.account or header.origin is Origin.API
    if submitted:
        head = _without_bcc(head)
    return (
        _received(header)
        + header.fields.encode()
        + (_missing(header, head) if submitted else b"")
        + head
    )


def _received(header: RecordHeader) -> bytes:
    if header.origin is Origin.DSN:
        # It begins here: nobody gave it to us.
        return b""
    return received_field(
        helo=header.client.helo,
        rdns=header.client.rdns,
        ip=header.client.ip,
        by=header.hostname,
        protocol=header.client.protocol,
        mail_id=header.mail_id,
        # No FOR: one attempt may carry several recipients, who need not know of each other
        # (RFC 5321 §7.2).
        recipient=None,
        at=header.received_at,
        tls=header.client.tls,
    )


def _without_bcc(head: bytes) -> bytes:
    # RFC 5322 §3.6.3: recipients in Bcc are not to be revealed to the others.
    kept, at = [], 0
    for field in parse_header(head).fields:
        if field.name == b"bcc":
            kept.append(head[at : field.start])
            at = field.end
    return b"".join([*kept, head[at:]])


def _missing(header: RecordHeader, head: bytes) -> bytes:
    fields = parse_header(head)
    lines = b""
    if fields.first(b"date") is None:
        lines += f"Date: {format_date(header.received_at)}\r\n".encode()
    if fields.first(b"message-id") is None:
        # Made of the mail_id, so that every attempt sends the same one.
        lines += f"Message-ID: <{header.mail_id}@{header.hostname or 'localhost'}>\r\n".encode()
    return lines


def split_head(content: bytes) -> tuple[bytes, bytes]:
    """(header section with its blank line, the rest of these octets)"""
    end = header_end(content)
    return content[:end], content[end:]


class LineEnds:
    """Content with CRLF at the end of every line, block by block, whatever was stored.

    A bare CR or LF that leaves could be read by another host as the end of the message (SMTP
    smuggling).
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._cr = False

    def feed(self, block: bytes) -> bytes:
        """The next block; it never ends between CR and LF."""
        if not block:
            return b""
        if self._cr:
            block, self._cr = b"\r" + block, False
        if block.endswith(b"\r"):
            # Whether it is bare is known with the next block.
            block, self._cr = block[:-1], True
        ends = block.count(b"\r\n")
        if block.count(b"\n") != ends or block.count(b"\r") != ends:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if block:
            self._at_line_start = block.endswith(b"\r\n")
        return block

    def finish(self) -> bytes:
        """What is missing: nothing, or the end of the last line."""
        if self._cr or not self._at_line_start:
            self._cr, self._at_line_start = False, True
            return b"\r\n"
        return b""


class DotWriter:
    """Content to what stands between DATA and the final dot, block by block.

    Lines that begin with a dot get a second one (RFC 5321 §4.5.2).
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._ends = LineEnds()

    def feed(self, block: bytes) -> bytes:
        """The next block, as it goes on the wire."""
        block = self._ends.feed(block)
        if not block:
            return b""
        starts_line = self._at_line_start
        self._at_line_start = block.endswith(b"\r\n")
        block = block.replace(b"\r\n.", b"\r\n..")
        return b"." + block if starts_line and block.startswith(b".") else block

    def finish(self) -> bytes:
        """What is missing before `.CRLF`."""
        return self._ends.finish()
