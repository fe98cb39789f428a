"""/v1/accounts/…/recoverable and /v1/self/recoverable: expunged mail, and putting it back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from libs.common.admin import recoverable
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Strict, paged
from services.api.routes.self_service import own_address

router = APIRouter(tags=["recoverable"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("mailboxes:read"))]
Write = Annotated[Principal, Depends(Allow("mailboxes:write"))]
OwnRead = Annotated[Principal, Depends(Allow("self:read"))]
OwnWrite = Annotated[Principal, Depends(Allow("self:write"))]
Within = Annotated[str, Query(max_length=500, description="Only what was in this mailbox.")]


class Recoverable(BaseModel):
    """A message that was expunged."""

    id: int
    mailbox: str
    mail_id: str
    subject: str
    size: int
    expunged_at: float
    expires_at: float


class Wanted(Strict):
    """What to put back: all that fits what is given, at most 1000 messages."""

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] = Field(default=[], max_length=1000)
    mailbox: str = Field(default="", max_length=500)
    hours: float = Field(default=0, ge=0, le=10_000, description="Expunged since; 0: whenever.")


class Count(BaseModel):
    """How many came back to a mailbox."""

    name: str
    messages: int


class Restored(BaseModel):
    """What came back."""

    messages: int
    mailboxes: list[Count]


@router.get("/accounts/{address}/recoverable", response_model=Page[Recoverable])
async def list_recoverable(
    database: DatabaseOf,
    who: Read,
    address: Name,
    mailbox: Within = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """What was expunged from an account and can be had back, what went last first."""
    return paged(
        await recoverable.list_recoverable(
            database, who, address, mailbox=mailbox, cursor=cursor, limit=limit
        )
    )


@router.post("/accounts/{address}/recoverable/restore", response_model=Restored)
async def restore(platform: PlatformOf, who: Write, address: Name, wanted: Wanted) -> Any:
    """Put expunged mail back where it was; a mailbox that is gone is made again."""
    return await _restore(platform, who, address, wanted)


@router.get("/self/recoverable", response_model=Page[Recoverable])
async def own_recoverable(
    database: DatabaseOf,
    who: OwnRead,
    mailbox: Within = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """The same of one's own account."""
    return paged(
        await recoverable.list_recoverable(
            database, who, own_address(who), mailbox=mailbox, cursor=cursor, limit=limit
        )
    )


@router.post("/self/recoverable/restore", response_model=Restored)
async def own_restore(platform: PlatformOf, who: OwnWrite, wanted: Wanted) -> Any:
    """Put one's own mail back."""
    return await _restore(platform, who, own_address(who), wanted)


async def _restore(platform: PlatformOf, who: Principal, address: str, wanted: Wanted) -> Any:
    return await recoverable.put_back(
        platform.database, platform.mailstore(), who, address, **wanted.model_dump()
    )
