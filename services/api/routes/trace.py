"""/v1/trace: where is my mail?"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from libs.common.trace.search import find_messages, tell
from services.api.access import DatabaseOf

router = APIRouter(prefix="/v1/trace", tags=["trace"])


class Step(BaseModel):
    """Something that happened to a message, or to one recipient of it."""

    at: float
    stage: str
    what: str
    n: int
    recipient: str
    why: str
    took: float


class RecipientState(BaseModel):
    """Where one recipient's copy is."""

    n: int
    recipient: str
    state: str
    detail: str


class Story(BaseModel):
    """Everything that is known of a message."""

    mail_id: str
    message: dict[str, Any] | None
    recipients: list[RecipientState]
    steps: list[Step]


@router.get("")
async def find(
    database: DatabaseOf,
    q: Annotated[
        str, Query(min_length=1, max_length=1000, description="mail_id, Message-ID or address")
    ],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[Story]:
    """The whole way of the messages that `q` names, newest first."""
    ids = (await find_messages(database, q.replace("\0", "")))[:limit]
    return [Story(**await tell(database, mail_id)) for mail_id in ids]
