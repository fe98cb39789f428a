"""/v1/accounts/…/mail and /v1/self/mail: the messages of a mailbox, as an mbox."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from libs.common.admin import mail
from libs.common.admin.principal import Principal
from libs.common.transfer.mbox_source import MboxSource
from libs.protocols.mailfile.mbox import Quoting
from services.api.access import Allow, PlatformOf
from services.api.model import Name
from services.api.problem import Problem
from services.api.routes.self_service import own_address

# Not idempotent by key, which would have the whole body in memory: it is by the messages.
router = APIRouter(tags=["mail"])
Read = Annotated[Principal, Depends(Allow("mail:read"))]
Write = Annotated[Principal, Depends(Allow("mail:write"))]
OwnRead = Annotated[Principal, Depends(Allow("self:read"))]
OwnWrite = Annotated[Principal, Depends(Allow("self:write"))]
Mailbox = Annotated[str, Query(min_length=1, max_length=500)]
Form = Annotated[Quoting, Query(alias="format", description="How `From ` lines are hidden.")]
MBOX = "application/mbox"
_EXAMPLE = "From ann@example.org Mon Jan  5 10:00:00 2026\nSubject: hello\n\nHow are you?\n\n"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {MBOX: {"schema": {"type": "string"}, "examples": {"one": {"value": _EXAMPLE}}}},
    }
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {MBOX: {"schema": {"type": "string"}}}}
}


class Taken(BaseModel):
    """What came in."""

    messages: int
    known: int = Field(description="Passed over: they were brought in by an earlier request.")
    problems: list[str] = Field(description="What was left out, and why.")


@router.post("/accounts/{address}/mail", response_model=Taken, openapi_extra=_BODY)
async def take_in(
    platform: PlatformOf,
    who: Write,
    address: Name,
    request: Request,
    mailbox: Mailbox = "INBOX",
    form: Form = Quoting.RD,
) -> Any:
    """Bring the messages of an mbox into a mailbox, which is made if need be.

    A message that this mailbox was given before is passed over, so a request that broke off is
    sent again.  When the account is full, what there was room for is in.
    """
    return await _take_in(platform, who, address, request, mailbox, form)


@router.get("/accounts/{address}/mail", response_class=StreamingResponse, responses=_ANSWER)
async def give_out(
    platform: PlatformOf,
    who: Read,
    address: Name,
    mailbox: Mailbox = "INBOX",
    form: Form = Quoting.RD,
) -> StreamingResponse:
    """A mailbox as an mbox, with flags and UIDs in fields above each header; it is audited."""
    return await _give_out(platform, who, address, mailbox, form)


@router.post("/self/mail", response_model=Taken, openapi_extra=_BODY)
async def own_take_in(
    platform: PlatformOf,
    who: OwnWrite,
    request: Request,
    mailbox: Mailbox = "INBOX",
    form: Form = Quoting.RD,
) -> Any:
    """The same for one's own account."""
    return await _take_in(platform, who, own_address(who), request, mailbox, form)


@router.get("/self/mail", response_class=StreamingResponse, responses=_ANSWER)
async def own_give_out(
    platform: PlatformOf, who: OwnRead, mailbox: Mailbox = "INBOX", form: Form = Quoting.RD
) -> StreamingResponse:
    """The same of one's own account."""
    return await _give_out(platform, who, own_address(who), mailbox, form)


async def _take_in(
    platform: PlatformOf,
    who: Principal,
    address: str,
    request: Request,
    mailbox: str,
    form: Quoting,
) -> Any:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MBOX:
        raise Problem(415, "unsupported media type", f"is {MBOX}", "Content-Type")
    source = MboxSource({mailbox: request.stream}, form)
    return await mail.take_in(
        platform.database, platform.mailstore(), who, address, mailbox, source
    )


async def _give_out(
    platform: PlatformOf, who: Principal, address: str, mailbox: str, form: Quoting
) -> StreamingResponse:
    store = platform.mailstore()
    blocks = await mail.give_out(platform.database, store, who, address, mailbox, form)
    return StreamingResponse(blocks, media_type=MBOX)
