"""The page of mail that waits to leave: look, hold, release, try now, give up."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.admin import mail_queue
from libs.common.admin.mail_queue import Which
from services.api.access import DatabaseOf
from services.api.console.page import PageRoute, Text, need, render
from services.api.console.visitor import SameSite, Visitor, form_of, to
from services.api.problem import Problem

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_STATES = ("waiting", "held", "running")
_ACTIONS = ("hold", "release", "retry", "bounce", "discard")


@router.get("/waiting")
async def waiting_page(
    database: DatabaseOf,
    who: Visitor,
    domain: Text = "",
    sender: Text = "",
    state: Text = "",
    cursor: Text = "",
) -> Response:
    """Recipients that wait, the oldest message first."""
    need(who, "queue:read")
    which = Which(
        sender=sender.replace("\0", ""),
        domain=domain.replace("\0", ""),
        state=state if state in _STATES else "",
    )
    found, after = await mail_queue.list_waiting(database, who, which, cursor=cursor, limit=50)
    return render(
        "waiting",
        who,
        "/waiting",
        found=found,
        after=after,
        which=which,
        states=_STATES,
        may_change=who.may("queue:write"),
    )


@router.post("/waiting", dependencies=[SameSite])
async def decide(request: Request, database: DatabaseOf, who: Visitor) -> Response:
    """One recipient of one message, or everything to one destination."""
    need(who, "queue:write")
    form = {name: value.replace("\0", "") for name, value in (await form_of(request)).items()}
    action = form.get("action", "")
    if action not in _ACTIONS:
        raise Problem(404, "not found", "there is no such action")
    which = Which(
        mail_id=form.get("mail_id", ""),
        recipient=form.get("recipient", ""),
        domain=form.get("domain", ""),
    )
    await mail_queue.act(database, who, action, which, form.get("why", "")[:300])
    return to("/waiting")
