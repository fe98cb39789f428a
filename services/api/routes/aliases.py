"""/v1/aliases: addresses that stand for others."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from libs.common.accounts import registry
from libs.common.db.schema import alias
from services.api.access import DatabaseOf

router = APIRouter(prefix="/v1/aliases", tags=["aliases"])


class Alias(BaseModel):
    """An address and what it stands for."""

    model_config = ConfigDict(extra="forbid")
    address: str = Field(examples=["sales@example.org"], max_length=320)
    targets: list[str] = Field(examples=[["alice@example.org"]], min_length=1, max_length=1000)


@router.get("")
async def list_aliases(
    database: DatabaseOf, after: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[Alias]:
    """Aliases by address, from the one after `after`."""
    page = select(alias.c.address).where(alias.c.address > after).distinct()
    page = page.order_by(alias.c.address).limit(limit)
    query = select(alias.c.address, alias.c.target).where(alias.c.address.in_(page))
    found: dict[str, list[str]] = {}
    async with database.reading() as transaction:
        for row in await transaction.rows(query.order_by(alias.c.address, alias.c.target)):
            found.setdefault(row.address, []).append(row.target)
    return [Alias(address=address, targets=targets) for address, targets in found.items()]


@router.post("", status_code=201)
async def create_alias(database: DatabaseOf, new: Alias) -> Alias:
    """Create an alias, or add targets to it."""
    await registry.create_alias(database, new.address, new.targets)
    return new


@router.delete("/{address}", status_code=204)
async def delete_alias(database: DatabaseOf, address: str) -> None:
    """Remove an alias with all of its targets."""
    await registry.delete_alias(database, address)
