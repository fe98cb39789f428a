"""A world over a migrated database of either dialect, or over an S3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.blobstore import open_blobstore
from libs.common.db import Database
from libs.common.queue import open_queue
from tests.integration.garbage.world import World


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """Stores with one account; segments are files."""
    url = f"file:{tmp_path}/blobs"
    queue = open_queue(f"sqlite:///{tmp_path}/queue.db")
    await create_domain(database, "example.test")
    (account,) = await create_accounts(database, ["alice@example.test"], "")
    made = World(database, url, open_blobstore(url), queue, account)
    yield made
    await queue.close()
    await made.blobs.close()
