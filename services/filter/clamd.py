"""A client of clamd: sessions that are kept open, large chunks, several daemons.

The protocol is that of clamd(8): `zIDSESSION`, then for each scan `zINSTREAM` and chunks with
their length before them; answers carry the number of the request.

A daemon that fails is left alone for some seconds and the next one is asked.  Whether the daemon or
the content is to blame decides what the caller does, so the two are told apart: a daemon that
fails on a content and answers a PING right after it is well.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from prometheus_client import Counter

from libs.common.runtime.log import get_logger
from services.filter.fault import Unavailable

log = get_logger(__name__)
_SCANS = Counter("holub_filter_clamd_total", "Scans by clamd.", ["result"])
CHUNK = 128 * 1024
CONNECT_SECONDS = 3.0
REST_SECONDS = 5.0
"""How long a daemon that failed is left alone."""
IDLE_SECONDS = 20.0
"""A session that rested longer is not used again: clamd closes them after 30 s."""
MAX_ANSWER = 4096
_ANSWER = re.compile(rb"(?:\d+: )?(?:stream: |INSTREAM )(.*)", re.DOTALL)
_LOST = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Scan:
    """What clamd says of a content."""

    found: str = ""
    """The name of the signature, or empty: none matched."""
    too_large: bool = False
    """It was not looked at: larger than the daemon takes."""


class ClamdUnavailable(Unavailable):
    """No clamd answers."""


class ClamdDropped(ClamdUnavailable):
    """A daemon went away in the middle of this content, and does not answer now."""


class ScanFailed(Exception):
    """The daemons are well, but fail on this content."""


class _Refused(Exception):
    """The daemon answered ERROR."""


class _NoConnection(OSError):
    """It does not even take a connection."""


class _Session:
    """One connection in IDSESSION mode, one scan at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used_at = time.monotonic()

    def start(self) -> None:
        """Enter IDSESSION mode."""
        self._writer.write(b"zIDSESSION\0")

    async def scan(self, content: bytes) -> Scan:
        """Send the content, read the answer; `_Refused`, or one of `_LOST`."""
        self._writer.write(b"zINSTREAM\0")
        for start in range(0, len(content), CHUNK):
            chunk = content[start : start + CHUNK]
            self._writer.writelines((struct.pack("!L", len(chunk)), chunk))
            await self._writer.drain()
        self._writer.write(struct.pack("!L", 0))
        answer = (await self._reader.readuntil(b"\0"))[:-1]
        self.used_at = time.monotonic()
        return _read(answer)

    async def ping(self) -> bool:
        """Outside IDSESSION mode: does it answer?"""
        self._writer.write(b"zPING\0")
        return await self._reader.readuntil(b"\0") == b"PONG\0"

    async def version(self) -> str:
        """Outside IDSESSION mode: `ClamAV VERSION/NUMBER/DATE` of its signatures."""
        self._writer.write(b"zVERSION\0")
        return (await self._reader.readuntil(b"\0"))[:-1].decode("ascii", "replace")

    def close(self) -> None:
        self._writer.close()


def _read(answer: bytes) -> Scan:
    match = _ANSWER.fullmatch(answer)
    if match is None:
        # Out of step: whatever this is an answer to, it is none to us.
        raise ConnectionError(f"clamd answered {answer[:100]!r}")
    words = match[1].decode("utf-8", "replace")
    if words == "OK":
        return Scan()
    if words.endswith(" FOUND"):
        return Scan(found=words.removesuffix(" FOUND"))
    if words.startswith("size limit exceeded"):
        # Our setting is above its StreamMaxLength.  It is no "clean".
        return Scan(too_large=True)
    raise _Refused(words[:200])


class _Daemon:
    """One clamd with its pool of sessions."""

    def __init__(self, url: str, sessions: int, seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("tcp", "unix"):
            raise ValueError(
                f"HOLUB_FILTER_CLAMD: write tcp://HOST:PORT or unix:///PATH instead of {url!r}"
            )
        self.url = url
        self.rest_until = 0.0
        self._parts = parts
        self._idle: list[_Session] = []
        self._slots = asyncio.Semaphore(sessions)
        self._seconds = seconds

    @property
    def resting(self) -> bool:
        """It failed a moment ago."""
        return self.rest_until > time.monotonic()

    def rest(self) -> None:
        """Leave it alone for a while."""
        self.rest_until = time.monotonic() + REST_SECONDS
        self.close()

    async def scan(self, content: bytes) -> Scan:
        """One scan; the time that it waits for a session is not counted."""
        async with self._slots:
            if self.resting:
                raise _NoConnection("it failed a moment ago")
            while self._idle:
                session = self._idle.pop()
                if session.used_at + IDLE_SECONDS < time.monotonic():
                    session.close()
                    continue
                try:
                    return await self._scan_in(session, content)
                except (OSError, asyncio.IncompleteReadError) as error:
                    # A session that clamd closed while it was idle says nothing about clamd.
                    if isinstance(error, TimeoutError):
                        raise
            session = await self._open()
            session.start()
            return await self._scan_in(session, content)

    async def _scan_in(self, session: _Session, content: bytes) -> Scan:
        try:
            async with asyncio.timeout(self._seconds):
                scan = await session.scan(content)
        except BaseException:
            session.close()
            raise
        if scan.too_large:
            session.close()
        else:
            self._idle.append(session)
        return scan

    async def well(self) -> bool:
        """It takes a connection and answers a PING."""
        try:
            session = await self._open()
        except _LOST:
            return False
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await session.ping()
        except _LOST:
            return False
        finally:
            session.close()

    async def version(self) -> str:
        """What it says of itself; one of `_LOST` when it does not answer."""
        session = await self._open()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await session.version()
        finally:
            session.close()

    async def _open(self) -> _Session:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._parts.scheme == "unix":
                    path = self._parts.path
                    return _Session(*await asyncio.open_unix_connection(path, limit=MAX_ANSWER))
                host, port = self._parts.hostname or "127.0.0.1", self._parts.port or 3310
                return _Session(*await asyncio.open_connection(host, port, limit=MAX_ANSWER))
        except (OSError, TimeoutError) as error:
            raise _NoConnection(str(error) or "no connection in time") from error

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Clamd:
    """Asks the first daemon that answers."""

    def __init__(
        self, urls: Sequence[str], *, seconds: float, sessions: int, max_octets: int
    ) -> None:
        self._daemons = [_Daemon(url, sessions, seconds) for url in urls]
        self._max_octets = max_octets

    async def scan(self, content: bytes) -> Scan:
        """What is in it.

        `ClamdUnavailable` when nobody answers (try again later), `ScanFailed` when the daemons
        are well but this content is too much for them.
        """
        if len(content) > self._max_octets:
            _SCANS.labels("too_large").inc()
            return Scan(too_large=True)
        failures: list[tuple[_Daemon, Exception]] = []
        for daemon in self._daemons:
            if daemon.resting:
                continue
            try:
                scan = await daemon.scan(content)
            except (_Refused, *_LOST) as error:
                failures.append((daemon, error))
                if isinstance(error, TimeoutError | _NoConnection):
                    # Those that wait for a session of it go on to the next daemon at once.
                    daemon.rest()
                log.warning("clamd failed", daemon=daemon.url, error=_words(error))
                continue
            for failed, _ in failures:
                failed.rest()
            _SCANS.labels(_result(scan)).inc()
            return scan
        _SCANS.labels("failed").inc()
        raise await _blame(failures)

    async def versions(self) -> dict[str, str]:
        """What the daemons that answer say of themselves, by URL."""
        found = {}
        for daemon in self._daemons:
            try:
                found[daemon.url] = await daemon.version()
            except _LOST as error:
                log.warning("clamd says no version", daemon=daemon.url, error=_words(error))
        return found

    def close(self) -> None:
        """End all sessions."""
        for daemon in self._daemons:
            daemon.close()


async def _blame(failures: Sequence[tuple[_Daemon, Exception]]) -> Exception:
    """The daemons that do not answer now are left alone; one that does was not the trouble."""
    if not failures:
        return ClamdUnavailable("every daemon failed a moment ago")
    why = "; ".join(f"{daemon.url}: {_words(error)}" for daemon, error in failures)
    well = False
    for daemon, error in failures:
        if isinstance(error, _Refused) or await daemon.well():
            well = well or not isinstance(error, _NoConnection)
            daemon.rest_until = 0.0
        else:
            daemon.rest()
    if well:
        return ScanFailed(why)
    if any(
        isinstance(error, asyncio.IncompleteReadError | ConnectionError) for _, error in failures
    ):
        return ClamdDropped(why)
    return ClamdUnavailable(why)


def _words(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError | ConnectionError):
        return f"it dropped the connection ({type(error).__name__})"
    return str(error) or "no answer in time"


def _result(scan: Scan) -> str:
    if scan.too_large:
        return "too_large"
    return "found" if scan.found else "clean"


@asynccontextmanager
async def open_clamd(
    urls: str, *, seconds: float, sessions: int, max_octets: int
) -> AsyncIterator[Clamd | None]:
    """The client for a comma-separated list of daemons; None for an empty list."""
    names = [url.strip() for url in urls.split(",") if url.strip()]
    if not names:
        yield None
        return
    clamd = Clamd(names, seconds=seconds, sessions=sessions, max_octets=max_octets)
    try:
        yield clamd
    finally:
        clamd.close()
