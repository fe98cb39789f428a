"""/v1/audit: who changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from libs.common.admin import audit
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.model import Cursor, Limit, Page, paged

router = APIRouter(prefix="/audit", tags=["audit"])
Read = Annotated[Principal, Depends(Allow("audit:read"))]
Verify = Annotated[Principal, Depends(Allow("audit:verify"))]
Text = Annotated[str, Query(max_length=320)]


class Entry(BaseModel):
    """One change."""

    id: int
    at: float
    actor: str
    client: str
    action: str
    object: str
    detail: dict[str, Any]
    previous: str
    hash: str


class Verified(BaseModel):
    """Is the chain whole?"""

    rows: int
    broken_at: int | None


@router.get("", response_model=Page[Entry])
async def list_audit(
    database: DatabaseOf,
    who: Read,
    action: Text = "",
    actor: Text = "",
    object: Text = "",  # noqa: A002
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Changes, newest first."""
    return paged(
        await audit.list_audit(
            database,
            who,
            action=action,
            actor=actor,
            subject=object,
            cursor=cursor,
            limit=limit,
        )
    )


@router.get("/verify", response_model=Verified)
async def verify_audit(database: DatabaseOf, who: Verify) -> Any:
    """Check the hash of every row of all tenants: was anything changed or removed?"""
    rows, broken = await audit.verify(database)
    return {"rows": rows, "broken_at": broken}
