"""/v1/queues: what waits where."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from libs.common.admin import queues
from libs.common.admin.principal import Principal
from services.api.access import Allow, PlatformOf

router = APIRouter(prefix="/queues", tags=["queues"])
Read = Annotated[Principal, Depends(Allow("queues:read"))]


class Waiting(BaseModel):
    """How much one queue (due now) or table (due later) holds."""

    name: str
    kind: str
    jobs: int
    oldest_seconds: float


class Unaccounted(BaseModel):
    """The number that must be 0."""

    messages: int


@router.get("", response_model=list[Waiting])
async def list_queues(platform: PlatformOf, who: Read) -> Any:
    """Jobs waiting and in hand, and the age of the oldest."""
    return await queues.list_queues(platform.database, platform.queue, who)


@router.get("/unaccounted", response_model=Unaccounted)
async def count_unaccounted(platform: PlatformOf, who: Read) -> Any:
    """Messages of the last day of which no row says what became of them."""
    return {"messages": await queues.unaccounted(platform.database)}
