"""/v1/aliases: addresses that stand for others."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from libs.common.admin import aliases
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.conditional import Precondition, tagged
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Search, Strict, paged

router = APIRouter(prefix="/aliases", tags=["aliases"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("aliases:read"))]
Write = Annotated[Principal, Depends(Allow("aliases:write"))]
Targets = Annotated[
    list[str], Field(examples=[["alice@example.org"]], min_length=1, max_length=1000)
]


class NewAlias(Strict):
    """An address and what it stands for."""

    address: str = Field(examples=["sales@example.org"], min_length=3, max_length=320)
    targets: Targets


class AliasChange(Strict):
    """All targets; others are removed."""

    targets: Targets


class Alias(BaseModel):
    """An address and what it stands for."""

    address: str
    targets: list[str]


@router.get("", response_model=Page[Alias])
async def list_aliases(
    database: DatabaseOf,
    who: Read,
    search: Search = "",
    domain: Annotated[str, Query(max_length=253)] = "",
    target: Annotated[str, Query(max_length=320)] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Aliases by address."""
    return paged(
        await aliases.list_aliases(
            database,
            who,
            search=search,
            domain_name=domain,
            target=target,
            cursor=cursor,
            limit=limit,
        )
    )


@router.post("", status_code=201, response_model=Alias)
async def create_alias(database: DatabaseOf, who: Write, new: NewAlias) -> Any:
    """Create an alias, or add targets to it."""
    return await aliases.put_alias(database, who, new.address, new.targets, add=True)


@router.get("/{address}", response_model=Alias)
async def get_alias(
    database: DatabaseOf, who: Read, address: Name, request: Request, response: Response
) -> Any:
    """One alias."""
    return tagged(request, response, await aliases.get_alias(database, who, address))


@router.put("/{address}", response_model=Alias)
async def change_alias(
    database: DatabaseOf, who: Write, address: Name, change: AliasChange, check: Precondition
) -> Any:
    """Replace the targets of an alias."""
    return await aliases.put_alias(database, who, address, change.targets, check=check)


@router.delete("/{address}", status_code=204)
async def delete_alias(
    database: DatabaseOf, who: Write, address: Name, check: Precondition
) -> None:
    """Remove an alias with all of its targets."""
    await aliases.delete_alias(database, who, address, check)
