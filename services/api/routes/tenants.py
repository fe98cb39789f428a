"""/v1/tenants: customers that share the platform."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from libs.common.admin import tenants
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.conditional import Precondition, tagged
from services.api.idempotency import Idempotent
from services.api.model import MOST_OCTETS, Cursor, Limit, Name, Page, Strict, paged

router = APIRouter(prefix="/tenants", tags=["tenants"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("tenants:read"))]
Write = Annotated[Principal, Depends(Allow("tenants:write"))]


class NewTenant(Strict):
    """A tenant to create."""

    name: str = Field(examples=["acme"], min_length=1, max_length=63)


class TenantChange(Strict):
    """How much its accounts together may send by submission; 0: no limit."""

    messages_per_hour: int | None = Field(default=None, ge=0, le=MOST_OCTETS)
    recipients_per_day: int | None = Field(default=None, ge=0, le=MOST_OCTETS)


class Tenant(BaseModel):
    """A tenant, how much it may send and how much it has."""

    name: str
    messages_per_hour: int
    recipients_per_day: int
    domains: int
    accounts: int
    created_at: float


@router.get("", response_model=Page[Tenant])
async def list_tenants(
    database: DatabaseOf, who: Read, cursor: Cursor = "", limit: Limit = 100
) -> Any:
    """Tenants by name."""
    return paged(await tenants.list_tenants(database, who, cursor=cursor, limit=limit))


@router.post("", status_code=201, response_model=Tenant)
async def create_tenant(database: DatabaseOf, who: Write, new: NewTenant) -> Any:
    """Create a tenant."""
    return await tenants.create_tenant(database, who, new.name)


@router.get("/{name}", response_model=Tenant)
async def get_tenant(
    database: DatabaseOf, who: Read, name: Name, request: Request, response: Response
) -> Any:
    """One tenant."""
    return tagged(request, response, await tenants.get_tenant(database, who, name))


@router.patch("/{name}", response_model=Tenant)
async def change_tenant(
    database: DatabaseOf,
    who: Write,
    name: Name,
    change: TenantChange,
    check: Precondition,
    request: Request,
    response: Response,
) -> Any:
    """Change how much a tenant may send."""
    values = change.model_dump(exclude_none=True)
    return tagged(
        request, response, await tenants.change_tenant(database, who, name, check, **values)
    )


@router.delete("/{name}", status_code=204)
async def delete_tenant(database: DatabaseOf, who: Write, name: Name, check: Precondition) -> None:
    """Remove a tenant that has no domains and keys any more."""
    await tenants.delete_tenant(database, who, name, check)
