"""/v1/domains: the domains that are ours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from libs.common.accounts import registry
from libs.common.db.schema import domain
from services.api.access import DatabaseOf

router = APIRouter(prefix="/v1/domains", tags=["domains"])


class NewDomain(BaseModel):
    """A domain to take mail for."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(examples=["example.org"], max_length=253)


class Domain(BaseModel):
    """A domain of ours."""

    name: str
    enabled: bool
    catch_all: str
    created_at: float


def _domain(row: Any) -> Domain:
    return Domain(
        name=row.name, enabled=row.enabled, catch_all=row.catch_all, created_at=row.created_at
    )


@router.get("")
async def list_domains(
    database: DatabaseOf,
    after: Annotated[str, Query(description="Name of the last one seen.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Domain]:
    """Domains by name, from the one after `after`."""
    query = select(domain).where(domain.c.name > after).order_by(domain.c.name).limit(limit)
    async with database.reading() as transaction:
        return [_domain(row) for row in await transaction.rows(query)]


@router.post("", status_code=201)
async def create_domain(database: DatabaseOf, new: NewDomain) -> Domain:
    """Take mail for a domain."""
    await registry.create_domain(database, new.name)
    return await get_domain(database, registry.check_domain(new.name))


@router.get("/{name}")
async def get_domain(database: DatabaseOf, name: str) -> Domain:
    """One domain."""
    async with database.reading() as transaction:
        return _domain(await registry.domain_row(transaction, name.lower()))


@router.delete("/{name}", status_code=204)
async def delete_domain(database: DatabaseOf, name: str) -> None:
    """Take no mail for it any more; it must be empty."""
    await registry.delete_domain(database, name)
