"""/v1/blocks: clients, networks and accounts that failed too often to log in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from libs.common.admin import blocks
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Page, Search, paged

router = APIRouter(prefix="/blocks", tags=["blocks"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("blocks:read"))]
Write = Annotated[Principal, Depends(Allow("blocks:write"))]
Key = Annotated[
    str, Query(min_length=1, max_length=400, examples=["auth:ip/192.0.2.1"], description="`key`.")
]


class Block(BaseModel):
    """Who may do what no more, until when, and why."""

    key: str
    reason: str
    created_at: float
    until: float


@router.get("", response_model=Page[Block])
async def list_blocks(
    database: DatabaseOf, who: Read, search: Search = "", cursor: Cursor = "", limit: Limit = 100
) -> Any:
    """The blocks in force, by key; of a tenant, those of its accounts."""
    return paged(await blocks.list_blocks(database, who, search=search, cursor=cursor, limit=limit))


@router.delete("", status_code=204)
async def remove_block(database: DatabaseOf, who: Write, key: Key) -> None:
    """Let somebody in again, within two seconds everywhere."""
    await blocks.remove_block(database, who, key)
