"""/v1/parked: jobs that are held for an operator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from libs.common.admin import parked
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Id, Limit, Page, paged

router = APIRouter(prefix="/parked", tags=["parked jobs"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("parked:read"))]
Write = Annotated[Principal, Depends(Allow("parked:write"))]


class Parked(BaseModel):
    """A job that could not be done."""

    id: int
    queue: str
    mail_id: str
    reason: str
    attempts: int
    parked_at: float


class ParkedJob(Parked):
    """The same with what is in it."""

    job: Any
    octets: str | None
    """In hexadecimal, when the job cannot be read as JSON."""


@router.get("", response_model=Page[Parked])
async def list_parked(
    database: DatabaseOf,
    who: Read,
    queue: Annotated[str, Query(max_length=40)] = "",
    mail_id: Annotated[str, Query(max_length=40)] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Parked jobs, oldest first."""
    return paged(
        await parked.list_parked(
            database, who, queue=queue, mail_id=mail_id, cursor=cursor, limit=limit
        )
    )


@router.get("/{id}", response_model=ParkedJob)
async def get_parked(database: DatabaseOf, who: Read, id: Id) -> Any:  # noqa: A002
    """One parked job with its content."""
    return await parked.get_parked(database, who, id)


@router.post("/{id}/replay", response_model=Parked)
async def replay(platform: PlatformOf, who: Write, id: Id) -> Any:  # noqa: A002
    """Put the job back on its queue."""
    return await parked.replay(platform.database, platform.queue, who, id)


@router.delete("/{id}", status_code=204)
async def drop(
    database: DatabaseOf,
    who: Write,
    id: Id,  # noqa: A002
    reason: Annotated[str, Query(min_length=3, max_length=300, description="For the audit.")],
) -> None:
    """Give the job up; its recipients become `discarded`, with the reason."""
    await parked.drop(database, who, id, reason)
