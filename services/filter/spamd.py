"""A client of SpamAssassin's spamd, in its protocol SPAMC/1.5 (`spamd/PROTOCOL` there).

The protocol knows nothing of the session, so what SpamAssassin needs of it stands before the
content in the fields that it reads: Return-Path, Authentication-Results and our Received.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from libs.common.jobs.received import received
from libs.common.runtime.log import get_logger
from services.filter.engine import MAX_TESTS, Question, Score, Turn
from services.filter.fault import EngineFailed, Unavailable

log = get_logger(__name__)
MAX_ANSWER = 256 * 1024
_STATUS = re.compile(rb"SPAMD/\S+ (\d+) ([^\r\n]*)")
_SPAM = re.compile(rb"^Spam: *\w+ *; *(-?[0-9.]+) */", re.MULTILINE | re.IGNORECASE)
_LOST = (OSError, TimeoutError, asyncio.IncompleteReadError)
_UNFIT = re.compile(r"[^!-~]+")


class Spamd:
    """Asks the first daemon that answers; a connection for each question, as spamd wants it."""

    name = "spamd"

    def __init__(self, urls: Sequence[str], *, seconds: float, sessions: int) -> None:
        for url in urls:
            if urlsplit(url).scheme not in ("tcp", "unix"):
                raise ValueError(
                    f"HOLUB_FILTER_SPAMD: write tcp://HOST:PORT or unix:///PATH instead of {url!r}"
                )
        self._daemons = [(url, Turn(seconds)) for url in urls]
        self._seconds = seconds
        # spamd has few children; more questions than those would only wait there.
        self._slots = asyncio.Semaphore(sessions)

    async def score(self, question: Question) -> Score:
        """How much like spam it looks."""
        recipients = question.header.envelope.recipients
        owner = recipients[0].address if len(recipients) == 1 else ""
        answer = await self._ask("SYMBOLS", _before(question), question.content, _user(owner))
        match = _SPAM.search(answer)
        if match is None:
            raise EngineFailed(f"spamd: no score in {answer[:200]!r}")
        body = answer.partition(b"\r\n\r\n")[2].decode("ascii", "replace")
        tests = tuple(_UNFIT.sub("", one) for one in body.split(","))[:MAX_TESTS]
        return Score("spamd", float(match[1]), tuple(one for one in tests if one))

    async def learn(self, content: bytes, *, spam: bool, owner: str) -> None:
        """TELL; spamd must run with --allow-tell."""
        word = "spam" if spam else "ham"
        told = f"Message-class: {word}\r\nSet: local\r\n{_user(owner)}"
        await self._ask("TELL", b"", content, told)

    async def close(self) -> None:
        """There is nothing that stays open."""

    async def _ask(self, verb: str, before: bytes, content: bytes, fields: str) -> bytes:
        """The whole answer of the first daemon that gives one."""
        size = len(before) + len(content)
        head = f"{verb} SPAMC/1.5\r\nContent-length: {size}\r\n{fields}\r\n".encode()
        why = "every daemon failed a moment ago"
        async with self._slots:
            for url, turn in self._daemons:
                if not turn.take():
                    continue
                try:
                    async with asyncio.timeout(self._seconds):
                        answer = await _exchange(url, (head, before, content))
                except _LOST as error:
                    turn.failed()
                    why = f"{url}: {str(error) or 'no answer in time'}"
                    log.warning("spamd failed", daemon=url, error=why)
                    continue
                turn.answered()
                return _checked(answer)
        raise Unavailable(f"spamd: {why}")


async def _exchange(url: str, parts: Sequence[bytes]) -> bytes:
    async with _connected(url) as (reader, writer):
        writer.writelines(parts)
        await writer.drain()
        answer = b""
        while (block := await reader.read(65536)) and len(answer) <= MAX_ANSWER:
            answer += block
    if not answer:
        raise ConnectionError("it dropped the connection")
    return answer


@asynccontextmanager
async def _connected(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        reader, writer = await asyncio.open_unix_connection(parts.path)
    else:
        reader, writer = await asyncio.open_connection(
            parts.hostname or "127.0.0.1", parts.port or 783
        )
    try:
        yield reader, writer
    finally:
        writer.close()


def _checked(answer: bytes) -> bytes:
    match = _STATUS.match(answer)
    if match is None or match[1] != b"0":
        raise EngineFailed(f"spamd: {answer[:200].decode('ascii', 'replace')!r}")
    return answer


def _before(question: Question) -> bytes:
    header = question.header
    path = f"Return-Path: <{_UNFIT.sub('?', header.envelope.reverse_path)[:320]}>\r\n"
    found = question.found
    results = found.field(header.hostname or "localhost", header.client.ip) if found else ""
    return f"{path}{results}{received(header)}".encode("latin-1", "replace")


def _user(owner: str) -> str:
    """Whose preferences and statistics are used."""
    owner = _UNFIT.sub("?", owner)[:320]
    return f"User: {owner}\r\n" if owner else ""
