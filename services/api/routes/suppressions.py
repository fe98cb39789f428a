"""/v1/suppressions: recipients to whom a tenant sends nothing for a while."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from libs.common.admin import suppressions
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Search, Strict, paged

router = APIRouter(prefix="/suppressions", tags=["suppressions"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("suppressions:read"))]
Write = Annotated[Principal, Depends(Allow("suppressions:write"))]


class Suppression(BaseModel):
    """One recipient."""

    address: str
    tenant: str
    reason: str = Field(description="`manual`, or the class of the last refusal.")
    detail: str
    bounces: int = Field(description="In force from HOLUB_RELAY_SUPPRESS_AFTER on, or if manual.")
    last_at: float
    expires_at: float


class NewSuppression(Strict):
    """A recipient that shall get no mail."""

    address: str = Field(min_length=3, max_length=320)
    days: float = Field(default=30, gt=0, le=3650)
    detail: str = Field(default="", max_length=300, description="Why; for the audit.")
    tenant: str = Field(default="", max_length=63, description="Empty: one's own, or `default`.")


@router.get("", response_model=Page[Suppression])
async def list_suppressions(
    database: DatabaseOf, who: Read, search: Search = "", cursor: Cursor = "", limit: Limit = 100
) -> Any:
    """Recipients that were refused for good, or put here, by address."""
    return paged(
        await suppressions.list_suppressions(
            database, who, search=search, cursor=cursor, limit=limit
        )
    )


@router.post("", status_code=204)
async def add_suppression(database: DatabaseOf, who: Write, new: NewSuppression) -> None:
    """Bounce mail for an address untried, from the next message on."""
    await suppressions.add_suppression(
        database, who, new.address, days=new.days, detail=new.detail, tenant_name=new.tenant
    )


@router.delete("/{address}", status_code=204)
async def remove_suppression(database: DatabaseOf, who: Write, address: Name) -> None:
    """Send to an address again."""
    await suppressions.remove_suppression(database, who, address)
