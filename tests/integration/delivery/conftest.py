"""A post office for each test: over SQLite, and where rows decide over PostgreSQL too."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.db import Database, open_database
from tests.integration.delivery.post import Post, open_post
from tests.servers.schema import at_head

NAMES = ("alice", "bob", "carol")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roles that wait for nobody."""
    monkeypatch.setenv("HOLUB_STORAGE_OUTBOX_EVERY_SECONDS", "0.05")
    monkeypatch.setenv("HOLUB_DELIVERY_INTERVAL_SECONDS", "0")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that every test gets a copy of."""

    async def make(path: Path) -> Path:
        database = open_database(f"sqlite:///{path}")
        await at_head(database)
        await database.close()
        return path

    return asyncio.run(make(tmp_path_factory.mktemp("migrated") / "holub.db"))


@pytest.fixture
async def post(migrated: Path, tmp_path: Path) -> AsyncIterator[Post]:
    """With the accounts alice, bob and carol."""
    database = open_database(f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    async with open_post(database, tmp_path) as opened:
        await opened.accounts(*NAMES)
        yield opened
    await database.close()


@pytest.fixture
async def post_of_both(database: Database, tmp_path: Path) -> AsyncIterator[Post]:
    """The same over each dialect."""
    async with open_post(database, tmp_path) as opened:
        await opened.accounts(*NAMES)
        yield opened
