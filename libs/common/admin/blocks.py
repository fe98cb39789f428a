"""Who may do nothing for a while (libs.common.limits), within the reach of who asks."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, select

from libs.common.accounts.registry import NotFound
from libs.common.admin import audit, reach
from libs.common.admin.page import page
from libs.common.admin.principal import Principal
from libs.common.db import Database
from libs.common.db.schema import block


async def list_blocks(
    database: Database, who: Principal, *, search: str = "", cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """The blocks in force, by key."""
    query = select(block.c.key, block.c.reason, block.c.created_at, block.c.until)
    query = query.where(block.c.until > time.time(), reach.blocks(who))
    if search:
        query = query.where(block.c.key.contains(search.lower(), autoescape=True))
    async with database.reading() as transaction:
        return await page(transaction, query, [block.c.key], cursor, limit)


async def remove_block(database: Database, who: Principal, key: str) -> None:
    """Let somebody in again, within two seconds everywhere."""
    async with database.transaction() as transaction:
        mine = delete(block).where(block.c.key == key, reach.blocks(who))
        if not await transaction.execute(mine):
            raise NotFound("key", f"there is no block {key}")
        await audit.note(transaction, who, "block.remove", key)
