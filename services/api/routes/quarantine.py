"""/v1/quarantine: what is held, for whom and why; letting it go, or throwing it away."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.params import Path
from pydantic import BaseModel, Field

from libs.common.admin import quarantine, release
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Strict, paged

router = APIRouter(prefix="/quarantine", tags=["quarantine"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("quarantine:read"))]
Write = Annotated[Principal, Depends(Allow("quarantine:write"))]
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
    preview: str | None
    """The beginning of its text, without markup."""


class Release(Strict):
    """To whom held mail is delivered."""

    recipients: list[Annotated[int, Field(ge=0, le=2**31 - 1)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    """Their ordinals; null: all that are held and that you may see."""
    learn: bool = False
    """Whether the spam engines are told that it was wanted."""


class Released(BaseModel):
    """A recipient to whom it is delivered now."""

    mail_id: str
    n: int
    recipient: str


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


@router.post("/{mail_id}/release", response_model=list[Released])
async def release_held(platform: PlatformOf, who: Write, mail_id: Name, body: Release) -> Any:
    """Deliver it, once; 409 when that was done already.  Malware needs an administrator."""
    return await release.release(
        platform.database, platform.blobs, who, mail_id, body.recipients, learn=body.learn
    )


@router.delete("/{mail_id}/{n}", status_code=204)
async def delete_held(database: DatabaseOf, who: Write, mail_id: Name, n: Ordinal) -> None:
    """Throw one recipient's copy away."""
    await release.discard(database, who, mail_id, n)
