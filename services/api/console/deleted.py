"""The page of expunged mail: one's own, or an account's within reach."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.accounts.registry import RegistryError
from libs.common.admin import recoverable
from libs.common.admin.principal import Principal
from services.api.access import DatabaseOf, PlatformOf
from services.api.console.page import PageRoute, Text, need, render
from services.api.console.visitor import SameSite, Visitor, form_of, to

router = APIRouter(include_in_schema=False, route_class=PageRoute)


def _may(who: Principal, address: str, verb: str) -> None:
    need(who, f"self:{verb}" if address == who.address else f"mailboxes:{verb}")


@router.get("/deleted/{address}")
async def deleted_page(
    database: DatabaseOf, who: Visitor, address: str, cursor: Text = ""
) -> Response:
    """What can be had back."""
    address = address.replace("\0", "")
    _may(who, address, "read")
    found, after = await recoverable.list_recoverable(
        database, who, address, cursor=cursor, limit=50
    )
    return render("deleted", who, "", found=found, after=after, address=address)


@router.post("/deleted/{address}", dependencies=[SameSite])
async def put_back(request: Request, platform: PlatformOf, who: Visitor, address: str) -> Response:
    """Put back one message, or all of the last hours."""
    address = address.replace("\0", "")
    _may(who, address, "write")
    form = await form_of(request)
    try:
        ids = [int(form["id"])] if "id" in form else []
        hours = float(form.get("hours", 0))
    except ValueError as error:
        raise RegistryError("id", "is not a number") from error
    if not ids and not 0 < hours <= 10_000:
        raise RegistryError("hours", "must be between 0 and 10000")
    await recoverable.put_back(
        platform.database, platform.mailstore(), who, address, ids=ids, hours=hours
    )
    return to(f"/deleted/{address}")
