"""/v1/trace: where is my mail?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from libs.common.admin import trace
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.model import Cursor, Limit, Name, Page, paged
from services.platform import Platform

router = APIRouter(prefix="/trace", tags=["trace"])
Read = Annotated[Principal, Depends(Allow("trace:read"))]
_LOOK_SECONDS = 0.5
_BEAT_SECONDS = 15.0
Text = Annotated[str, Query(max_length=1000)]
Time = Annotated[float, Query(ge=0, le=1e11, description="Seconds since the epoch.")]


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


class Summary(BaseModel):
    """One message in a list."""

    mail_id: str
    at: float | None
    sender: str | None
    recipients: dict[str, str]
    """Address to what happened to it last."""
    subject: str
    message_id: str
    size: int | None
    last: str


class Story(BaseModel):
    """Everything that is known of a message."""

    mail_id: str
    message: dict[str, Any] | None
    recipients: list[RecipientState]
    steps: list[Step]
    explanation: list[str]


@router.get("", response_model=Page[Summary])
async def find(
    database: DatabaseOf,
    who: Read,
    q: Annotated[
        str,
        Query(max_length=1000, description="A mail_id, <Message-ID>, address, or subject."),
    ] = "",
    message_id: Text = "",
    address: Text = "",
    sender: Text = "",
    recipient: Text = "",
    subject: Text = "",
    state: Annotated[str, Query(max_length=20, examples=["deferred"])] = "",
    since: Time = 0.0,
    until: Time = 0.0,
    cursor: Cursor = "",
    limit: Limit = 20,
) -> Any:
    """Messages that match everything given, newest first; short pages may still go on."""
    rough = trace.guess(q) if q.strip() else trace.Wanted()
    wanted = trace.Wanted(
        mail_id=rough.mail_id,
        message_id=message_id or rough.message_id,
        address=address or rough.address,
        sender=sender,
        recipient=recipient,
        subject=subject or rough.subject,
        state=state,
        since=since,
        until=until,
    )
    return paged(await trace.search(database, who, wanted, cursor=cursor, limit=limit))


@router.get("/follow", response_class=StreamingResponse)
async def follow(
    platform: PlatformOf,
    who: Read,
    recipient: Annotated[str, Query(max_length=320, description="Only this recipient.")] = "",
) -> StreamingResponse:
    """Steps as they happen, as server-sent events whose data is a step."""
    return StreamingResponse(
        _events(platform, who, recipient.lower()), media_type="text/event-stream"
    )


async def _events(platform: Platform, who: Principal, recipient: str) -> AsyncIterator[bytes]:
    """Looks at the table twice a second; a comment now and then shows that the line is up."""
    follower = trace.Follower(platform.database, who)
    await follower.look()
    quiet = 0.0
    yield b": following\n\n"
    while not platform.stopping.is_set():
        steps = await follower.look()
        for step in steps:
            if not recipient or step["recipient"].lower() == recipient:
                yield b"event: step\ndata: " + orjson.dumps(step) + b"\n\n"
        quiet = 0.0 if steps else quiet + _LOOK_SECONDS
        if quiet >= _BEAT_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
        if not steps:
            await asyncio.sleep(_LOOK_SECONDS)


@router.get("/{mail_id}", response_model=Story)
async def get_story(database: DatabaseOf, who: Read, mail_id: Name) -> Any:
    """The whole way of one message, and in words what it means."""
    return await trace.story(database, who, mail_id)
