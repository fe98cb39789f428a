"""/v1/queues: what waits where."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from libs.common.queue.protocol import QUEUES

router = APIRouter(prefix="/v1/queues", tags=["queues"])


class QueueDepth(BaseModel):
    """How much one queue holds."""

    queue: str
    jobs: int
    oldest_seconds: float


@router.get("")
async def list_queues(request: Request) -> list[QueueDepth]:
    """Jobs waiting and in hand, and the age of the oldest."""
    found = []
    for name in QUEUES:
        depth = await request.app.state.platform.queue.depth(name)
        found.append(QueueDepth(queue=name, jobs=depth.jobs, oldest_seconds=depth.oldest_seconds))
    return found
