"""A mail store with two accounts, on either dialect, and mail that is hard to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.blobstore import open_blobstore
from libs.common.db import Database
from libs.common.mailstore import MailStore
from libs.common.queue import open_queue
from tests.integration.mailstore.room import Room


@pytest.fixture
async def room(database: Database, tmp_path: Path) -> AsyncIterator[Room]:
    """The store, alice with mail and bob with none."""
    blobs = open_blobstore(f"file:{tmp_path}/blobs")
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    await create_domain(database, "example.test")
    alice, bob = await create_accounts(database, ["alice@example.test", "bob@example.test"], "")
    yield Room(database, MailStore(database, blobs, queue), alice, bob)
    await queue.close()
    await blobs.close()
