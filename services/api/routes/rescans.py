"""/v1/rescans: delivered mail that is checked again by the engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from libs.common.admin import rescan
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Id, Limit, Page, Strict, paged
from services.platform import Platform

router = APIRouter(prefix="/rescans", tags=["re-scans"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("rescans:read"))]
Write = Annotated[Principal, Depends(Allow("rescans:write"))]
_LOOK_SECONDS = 0.5
_BEAT_LOOKS = 30


class NewRescan(Strict):
    """Which mail is checked again."""

    since: float = Field(ge=0, le=2**40, examples=[1_790_000_000])
    """It arrived since then (seconds since the epoch)."""
    tenant: str = Field(default="", max_length=320)
    """Only in the accounts of this tenant; empty: all within reach."""
    dry_run: bool = False
    """Only find out what would be moved."""


class Rescan(BaseModel):
    """How far it is, and what came of it: copies moved to Junk, to quarantine, and back."""

    id: int
    tenant: str | None
    since: float
    until: float
    dry_run: bool
    reason: str
    """Who asked for it, or which new signatures."""
    state: str
    """running, done, stopped"""
    note: str
    """Why it does not go on at present."""
    total: int
    """Messages that it was about when it began; 0 while no filter has begun it."""
    seen: int
    junk: int
    quarantined: int
    back: int
    failed: int
    """Messages on which the engines failed, or whose content could not be read."""
    created_at: float
    changed_at: float


class Finding(BaseModel):
    """What became of a message in one account."""

    mail_id: str
    account_id: int
    address: str
    action: str
    """junk, quarantined, back"""
    reason: str
    sender: str | None
    subject: str | None
    at: float


@router.get("", response_model=Page[Rescan])
async def list_rescans(
    database: DatabaseOf, who: Read, cursor: Cursor = "", limit: Limit = 100
) -> Any:
    """Re-scans, newest first; those that ended 90 days ago are forgotten."""
    return paged(await rescan.list_rescans(database, who, cursor=cursor, limit=limit))


@router.post("", status_code=201, response_model=Rescan)
async def begin_rescan(database: DatabaseOf, who: Write, new: NewRescan) -> Any:
    """Check delivered mail again, in the background, below the live traffic."""
    return await rescan.begin_rescan(
        database, who, new.since, tenant_name=new.tenant, dry_run=new.dry_run
    )


@router.get("/{id}", response_model=Rescan)
async def get_rescan(database: DatabaseOf, who: Read, id: Id) -> Any:  # noqa: A002
    """How far one is."""
    return await rescan.get_rescan(database, who, id)


@router.get("/{id}/findings", response_model=Page[Finding])
async def list_findings(
    database: DatabaseOf,
    who: Read,
    id: Id,  # noqa: A002
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """What it moved, or (dry run) would move."""
    return paged(await rescan.list_findings(database, who, id, cursor=cursor, limit=limit))


@router.post("/{id}/stop", response_model=Rescan)
async def stop_rescan(database: DatabaseOf, who: Write, id: Id) -> Any:  # noqa: A002
    """Do no more of it; what is done stays done."""
    return await rescan.stop_rescan(database, who, id)


@router.get("/{id}/follow", response_class=StreamingResponse)
async def follow(platform: PlatformOf, who: Read, id: Id) -> StreamingResponse:  # noqa: A002
    """How far it is, as server-sent events whose data is the re-scan, until it ends."""
    run = await rescan.get_rescan(platform.database, who, id)
    return StreamingResponse(_events(platform, who, run), media_type="text/event-stream")


async def _events(platform: Platform, who: Principal, run: dict[str, Any]) -> AsyncIterator[bytes]:
    told: dict[str, Any] = {}
    looks = 0
    while not platform.stopping.is_set():
        looks += 1
        if run != told or looks % _BEAT_LOOKS == 0:
            yield b"data: " + orjson.dumps(run) + b"\n\n"
        if run["state"] != "running":
            return
        told = run
        await asyncio.sleep(_LOOK_SECONDS)
        run = await rescan.get_rescan(platform.database, who, run["id"])
