"""What integration tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.db import Database, open_database
from tests.servers.schema import at_head


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database, once for each dialect."""
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path}/holub.db")
        await at_head(opened)
    else:
        opened = open_database(request.getfixturevalue("postgres_url"))
    yield opened
    await opened.close()
