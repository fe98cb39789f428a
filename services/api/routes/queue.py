"""/v1/queue: mail that waits to leave, and what shall become of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from libs.common.admin import mail_queue
from libs.common.admin.mail_queue import Which
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Strict, paged

router = APIRouter(prefix="/queue", tags=["queue"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("queue:read"))]
Write = Annotated[Principal, Depends(Allow("queue:write"))]
Text = Annotated[str, Query(max_length=320)]
Ordinal = Annotated[int, Path(ge=0, le=2**31 - 1)]


class State(StrEnum):
    """Of a recipient that waits."""

    ANY = ""
    WAITING = "waiting"
    HELD = "held"
    RUNNING = "running"


class Chosen(Strict):
    """Which recipients: all that is given must be true; give one at least."""

    mail_id: str = Field(default="", max_length=40)
    sender: str = Field(default="", max_length=320)
    recipient: str = Field(default="", max_length=320)
    domain: str = Field(default="", max_length=253, description="The destination.")
    tenant: str = Field(default="", max_length=63)
    why: str = Field(default="", max_length=300, description="For the audit and the trace.")

    def which(self) -> Which:
        """For the library."""
        return Which(self.mail_id, self.sender, self.recipient, self.domain, self.tenant)


class GivenUp(Chosen):
    """Which recipients, and whether their sender is told."""

    notify: bool = Field(default=True, description="Send a DSN; else they are discarded.")


class Waiting(BaseModel):
    """One recipient that waits."""

    mail_id: str
    n: int
    sender: str
    recipient: str
    domain: str
    received_at: float
    attempts: int
    next_attempt_at: float | None = Field(description="null: it is held.")
    last_reply: str
    state: str
    note: str = Field(description="Who holds it or gave it up, and why.")


class WaitingMessage(Waiting):
    """The same with what is known of its message."""

    size: int
    origin: str
    login: str
    client: str
    requiretls: bool
    smtputf8: bool


class Count(BaseModel):
    """How many."""

    recipients: int


@router.get("", response_model=Page[Waiting])
async def list_waiting(
    database: DatabaseOf,
    who: Read,
    mail_id: Annotated[str, Query(max_length=40)] = "",
    sender: Text = "",
    recipient: Text = "",
    domain: Annotated[str, Query(max_length=253)] = "",
    tenant: Annotated[str, Query(max_length=63)] = "",
    state: State = State.ANY,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Recipients that wait, the oldest message first."""
    which = Which(mail_id, sender, recipient, domain, tenant, str(state))
    found = await mail_queue.list_waiting(database, who, which, cursor=cursor, limit=limit)
    return paged(found)


@router.get("/count", response_model=Count)
async def count_waiting(
    database: DatabaseOf,
    who: Read,
    sender: Text = "",
    domain: Annotated[str, Query(max_length=253)] = "",
    tenant: Annotated[str, Query(max_length=63)] = "",
    state: State = State.ANY,
) -> Any:
    """How many recipients wait."""
    which = Which("", sender, "", domain, tenant, str(state))
    return {"recipients": await mail_queue.count_waiting(database, who, which)}


@router.get("/{mail_id}/{n}", response_model=WaitingMessage)
async def get_waiting(database: DatabaseOf, who: Read, mail_id: Name, n: Ordinal) -> Any:
    """One recipient that waits, with what is known of its message."""
    return await mail_queue.get_waiting(database, who, mail_id, n)


@router.post("/hold", response_model=Count)
async def hold(database: DatabaseOf, who: Write, chosen: Chosen) -> Any:
    """Try no more until released; what is being tried just now is not met."""
    met = await mail_queue.act(database, who, "hold", chosen.which(), chosen.why)
    return {"recipients": met}


@router.post("/release", response_model=Count)
async def release(database: DatabaseOf, who: Write, chosen: Chosen) -> Any:
    """Try again what was held."""
    met = await mail_queue.act(database, who, "release", chosen.which(), chosen.why)
    return {"recipients": met}


@router.post("/retry", response_model=Count)
async def retry(database: DatabaseOf, who: Write, chosen: Chosen) -> Any:
    """Try now, whenever the next attempt was due; what is held stays held."""
    met = await mail_queue.act(database, who, "retry", chosen.which(), chosen.why)
    return {"recipients": met}


@router.post("/cancel", response_model=Count)
async def cancel(database: DatabaseOf, who: Write, chosen: GivenUp) -> Any:
    """Give up: with a DSN to the sender, or without a word."""
    action = "bounce" if chosen.notify else "discard"
    met = await mail_queue.act(database, who, action, chosen.which(), chosen.why)
    return {"recipients": met}
