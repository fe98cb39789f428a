"""A world of two tenants over a migrated database of either dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.db import Database
from tests.integration.api.world import World, open_world


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """Two tenants, `ours` and `theirs`."""
    async with open_world(database, tmp_path) as opened:
        yield opened
