"""/v1/quarantine: what is held, for whom and why."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.params import Path
from pydantic import BaseModel

from libs.common.admin import quarantine
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, paged

router = APIRouter(prefix="/quarantine", tags=["quarantine"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("quarantine:read"))]
Ordinal = Annotated[int, Path(ge=0, le=2**31 - 1, description="The recipient's ordinal.")]


class Held(BaseModel):
    """One recipient's copy that is held."""

    mail_id: str
    n: int
    recipient: str
    reason: str
    state: str
    created_at: float
    sender: str | None
    subject: str | None
    size: int | None


@router.get("", response_model=Page[Held])
async def list_quarantine(
    database: DatabaseOf,
    who: Read,
    recipient: Annotated[str, Query(max_length=320)] = "",
    state: Annotated[str, Query(max_length=20, description="Empty: every state.")] = "held",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """What is held, newest first."""
    return paged(
        await quarantine.list_quarantine(
            database, who, recipient=recipient, state=state, cursor=cursor, limit=limit
        )
    )


@router.get("/{mail_id}/{n}", response_model=Held)
async def get_held(database: DatabaseOf, who: Read, mail_id: Name, n: Ordinal) -> Any:
    """One entry."""
    return await quarantine.get_held(database, who, mail_id, n)
