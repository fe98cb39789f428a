"""A gateway in this process, on the embedded backends, with TLS and two accounts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from libs.common.accounts.credential import hash_password
from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.mailstore import MailStore
from libs.common.runtime.settings import PlatformSettings
from services.imap.service import run
from services.platform import Platform, open_platform
from tests.integration.imap.running import ALICE, BOB, PASSWORD, Running, free_port
from tests.servers.schema import at_head


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """CA, certificate and key as PEM files."""
    folder = tmp_path_factory.mktemp("imap-tls")
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    paths = (folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    ca.cert_pem.write_to_path(str(paths[0]))
    leaf.private_key_pem.write_to_path(str(paths[2]))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(paths[1]), append=True)
    return paths


@pytest.fixture(scope="session")
def password_hash() -> str:
    """argon2 is slow on purpose, so it is computed once."""
    return hash_password(PASSWORD)


@pytest.fixture
def start(
    tmp_path: Path,
    certificate: tuple[Path, Path, Path],
    password_hash: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """`async with start(setting=value) as running` with settings of the role."""
    ca, cert, key = certificate
    platform_settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
        tls_certificate=str(cert),
        tls_key=str(key),
        health_port=0,
    )

    @asynccontextmanager
    async def starting(**settings: object) -> AsyncIterator[Running]:
        settings = {"port": free_port(), "tls_port": free_port()} | settings
        for name in [name for name in os.environ if name.startswith("HOLUB_IMAP_")]:
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(f"HOLUB_IMAP_{name.upper()}", str(value))
        async with open_platform(platform_settings) as platform:
            await at_head(platform.database)
            await create_domain(platform.database, "example.test", exists_ok=True)
            ids = await create_accounts(platform.database, [ALICE, BOB], password_hash)
            accounts = dict(zip([ALICE, BOB], ids, strict=True))
            task = asyncio.create_task(run(platform))
            await _until_ready(platform, task)
            store = MailStore(platform.database, platform.blobs, platform.queue)
            ports = (int(str(settings["port"])), int(str(settings["tls_port"])))
            try:
                yield Running(platform, store, accounts, *ports, ca, task)
            finally:
                platform.stopping.set()
                async with asyncio.timeout(15):
                    await task

    return starting


async def _until_ready(platform: Platform, task: asyncio.Task[None]) -> None:
    while len(platform.notes) < 2:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)


@pytest.fixture
async def gateway(start: Callable[..., Any]) -> AsyncIterator[Running]:
    """A gateway that lets loopback clients log in without TLS."""
    async with start(allow_plain_login=True) as running:
        yield running
