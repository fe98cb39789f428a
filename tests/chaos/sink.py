"""The other host: an SMTP server that does what the recipient's local-part says.

ok: 250.  later: 451 to the first RCPT, 250 after that.  never: 550.  drop: the first time it takes
the message and closes without an answer, so a second copy is right (I2 c).  Its own ledger
says what it took.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.content import MARKER


@dataclass(frozen=True, slots=True)
class Taken:
    """One copy of a message that the sink took for one recipient."""

    recipient: str
    seq: int
    sha256: str
    """Of the content from the marker on."""
    reverse_path: str
    answered: bool
    """False: the connection was closed instead of a 250."""


class Sink:
    """Listens on one port; `taken` and the file hold all that it took."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._seen: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.taken: list[Taken] = []

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        self._file.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 sink.test ESMTP\r\n")
            await self._session(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # The relay was killed in the middle: that is what this is for.
        finally:
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, recipients = "", list[str]()
        while True:
            await writer.drain()
            line = (await reader.readuntil(b"\r\n")).decode("utf-8", "replace").strip()
            match line.upper().split(" ", 1)[0].split(":")[0]:
                case "EHLO" | "HELO":
                    writer.write(b"250-sink.test\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE\r\n")
                case "MAIL":
                    path, recipients = _address(line), []
                    writer.write(b"250 2.1.0 OK\r\n")
                case "RCPT":
                    writer.write(self._rcpt(_address(line), recipients))
                case "DATA" if not recipients:
                    writer.write(b"554 5.5.1 no valid recipients\r\n")
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    await writer.drain()
                    content = await _content(reader)
                    if not self._take(path, recipients, content):
                        return
                    writer.write(b"250 2.0.0 taken\r\n")
                    recipients = []
                case "QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    await writer.drain()
                    return
                case "RSET" | "NOOP":
                    recipients = []
                    writer.write(b"250 2.0.0 OK\r\n")
                case _:
                    writer.write(b"502 5.5.1 not here\r\n")

    def _rcpt(self, address: str, recipients: list[str]) -> bytes:
        word = address.split("-", 1)[0]
        if word == "never":
            return b"550 5.1.1 no such person\r\n"
        if word == "later" and not self._seen[address]:
            self._seen[address] += 1
            return b"451 4.2.1 come again\r\n"
        recipients.append(address)
        return b"250 2.1.5 OK\r\n"

    def _take(self, path: str, recipients: list[str], content: bytes) -> bool:
        """Note the copies; whether to answer."""
        drops = [a for a in recipients if a.startswith("drop-") and not self._seen[a]]
        marker = MARKER.search(content)
        digest = hashlib.sha256(content[marker.start() :] if marker else content).hexdigest()
        seq = int(marker["seq"]) if marker else 0
        for address in recipients:
            row = Taken(address, seq, digest, path, not drops)
            self.taken.append(row)
            self._file.write(
                json.dumps([address, seq, digest, path, not drops]) + "\n",
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._seen.update(drops)
        return not drops


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


async def _content(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)
