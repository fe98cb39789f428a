"""Ingress alone, in this process, on embedded backends: what it stored can be looked at."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from libs.common.accounts import Directory
from libs.common.accounts.authenticator import Authenticator
from libs.common.accounts.credential import hash_password
from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.accounts.settings import AuthenticationSettings
from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, open_database
from libs.common.dns import Resolver, StaticResolver
from libs.common.jobs import RecordHeader
from libs.common.jobs.record import decode_header
from libs.common.limits import Limits
from libs.common.queue import open_queue
from libs.common.trace import TraceWriter
from services.ingress.allowance import Allowance
from services.ingress.commit import Commit
from services.ingress.listener import LISTENERS
from services.ingress.screen.screen import Screen
from services.ingress.server import Server
from services.ingress.service import listen
from services.ingress.settings import IngressSettings, MxSettings
from services.ingress.unpublished import Unpublished
from services.ingress.verdicts import Verdicts
from tests.servers.schema import at_head

DOMAIN, OTHER_DOMAIN = "example.test", "other.test"
"""Two domains of two tenants."""
ALICE, BOB, DAVE = f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"dave@{OTHER_DOMAIN}"
PASSWORD = "correct horse battery"


class Ingress:
    """The ports, and what was stored."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.ports: dict[str, int] = {}
        self.server: Server
        self.database: Database
        self.limits: Limits

    async def records(self) -> list[tuple[RecordHeader, bytes]]:
        """Every record of this hour and the last, in the order in which it came."""
        now = time.time()
        found = []
        for at in (now - 3600, now):
            async for entry in self._blobs.index(datetime.fromtimestamp(at, UTC)):
                content = (await self._blobs.read(entry.ref)).content
                found.append((decode_header(entry.header), content))
        return sorted(found, key=lambda record: record[0].mail_id)

    async def converse(self, *pieces: bytes, listener: str = "mx", pause: float = 0.0) -> bytes:
        """Send these pieces and half-close; everything that was answered, b"" when cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[listener])
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if writer.can_write_eof():
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 20)
        except OSError:
            return b""
        finally:
            writer.close()


@cache
def password_hash() -> str:
    """argon2 is slow on purpose, so it is computed once."""
    return hash_password(PASSWORD)


async def _people(database: Database) -> None:
    await create_domain(database, DOMAIN)
    await create_domain(database, OTHER_DOMAIN, tenant_name="other")
    addresses = [ALICE, BOB, f"carol@{DOMAIN}", DAVE]
    await create_accounts(database, addresses, password_hash())


@asynccontextmanager
async def running(
    folder: Path,
    *,
    tls: ssl.SSLContext | None = None,
    mx: MxSettings | None = None,
    resolver: Resolver | None = None,
    **settings: object,
) -> AsyncIterator[Ingress]:
    """Ingress with accounts alice, bob and carol of one tenant, and dave of another.

    A second one in the same folder has the same database.
    """
    new = not (folder / "holub.db").exists()
    database = open_database(f"sqlite:///{folder}/holub.db")
    await at_head(database)
    if new:
        await _people(database)
    queue, blobs = open_queue(f"sqlite:///{folder}/queue.db"), open_blobstore(f"file:{folder}/b")
    knobs = IngressSettings(verdict_seconds=0, **settings)  # type: ignore[arg-type]
    verdicts = Verdicts(queue, database)
    unpublished = Unpublished(blobs, queue, database, knobs)
    commit = Commit(blobs, queue, database, verdicts, unpublished, knobs)
    trace = TraceWriter(database)
    ingress = Ingress(blobs)
    limits, directory = Limits(database), Directory(database)
    limits.start()
    logins = Authenticator(database, limits, AuthenticationSettings(failure_seconds=0))
    allowance = Allowance(directory, limits, knobs)
    screen = None
    if mx is not None:
        asked = resolver or StaticResolver({})
        screen = Screen(mx, knobs.hostname, directory, database, limits, asked)
        screen.start()
    server = Server(knobs, directory, logins, commit, allowance, trace, tls, screen)
    ingress.server, ingress.database, ingress.limits = server, database, limits
    await verdicts.start()
    sockets = []
    for listener in LISTENERS:
        if tls or not listener.implicit_tls:
            sockets.append(await listen(server, listener, 0))
            ingress.ports[listener.name] = sockets[-1].sockets[0].getsockname()[1]
    yield ingress
    for socket in sockets:
        socket.close()
    await server.drain()
    if screen is not None:
        await screen.close()
    await verdicts.close()
    await trace.close()
    await limits.close()
    await queue.close()
    await blobs.close()
    await database.close()
