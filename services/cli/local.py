"""The API's application in this process, on the database that the settings name."""

from __future__ import annotations

import asyncio
import getpass
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, cast

from libs.common.admin.principal import local_operator
from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import open_database
from libs.common.db.revision import current, fits
from libs.common.queue import Queue, open_queue
from libs.common.runtime.health import Health
from libs.common.runtime.settings import PlatformSettings
from services.api.application import make_application
from services.platform import Platform, StartError

Chunk = Callable[[int, bytes], None]


class _Lazy:
    """A backend that is opened when it is used first: most commands need the database only."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)

    async def end(self) -> None:
        """Close what was opened."""
        if self._made is not None:
            await self._made.close()


@asynccontextmanager
async def _application() -> AsyncIterator[Any]:
    settings: PlatformSettings = PlatformSettings.load()
    database = open_database(settings.database_url, pool=2)
    jobs = _Lazy(lambda: open_queue(settings.queue_url))
    blobs = _Lazy(lambda: open_blobstore(settings.blob_url))
    try:
        if not fits(await current(database)):
            raise StartError("the database is not at this version's schema; run: holub migrate")
        platform = Platform(settings, database, cast(Queue, jobs), cast(BlobStore, blobs), Health())
        yield make_application(platform, operator=local_operator(getpass.getuser()))
    finally:
        await jobs.end()
        await blobs.end()
        await database.close()


async def _run(method: str, url: str, headers: dict[str, str], body: bytes, chunk: Chunk) -> None:
    """One request through ASGI; `chunk(status, octets)` is called for each part of the answer."""
    path, _, query = url.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": _unquoted(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"local")]
        + [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": ("local", 80),
        "state": {},
    }
    asked = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        if asked:
            # The client never hangs up by itself.
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    status = 0

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(message["status"])
            chunk(status, b"")
        elif message.get("body"):
            chunk(status, message["body"])

    async with _application() as app:
        await app(scope, receive, send)


def _unquoted(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)


async def ask(method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """(status, content) of a whole answer."""
    parts: list[bytes] = []
    seen = 0

    def chunk(status: int, octets: bytes) -> None:
        nonlocal seen
        seen = status
        parts.append(octets)

    await _run(method, url, headers, body, chunk)
    return seen, b"".join(parts)


def stream(
    method: str, url: str, headers: dict[str, str], body: bytes
) -> tuple[int, Iterator[bytes]]:
    """(status, parts as they come), from a thread with a loop of its own."""
    parts: queue.Queue[tuple[int, bytes] | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            send = lambda status, octets: parts.put((status, octets))  # noqa: E731
            asyncio.run(_run(method, url, headers, body, send))
            parts.put(None)
        except BaseException as error:
            parts.put(error)

    threading.Thread(target=work, daemon=True).start()
    first = parts.get()
    if isinstance(first, BaseException):
        raise first
    return (first[0] if first else 500), _parts(parts)


def _parts(parts: queue.Queue[Any]) -> Iterator[bytes]:
    while (part := parts.get()) is not None:
        if isinstance(part, BaseException):
            raise part
        yield part[1]
