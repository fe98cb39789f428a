"""The page of one's own app passwords: one for each device, limited to what it needs."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.accounts.registry import RegistryError
from libs.common.admin import app_passwords
from libs.common.admin.principal import Principal
from services.api.access import DatabaseOf
from services.api.console.page import PageRoute, need, render
from services.api.console.visitor import SameSite, Visitor, form_of, to

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_SCOPES = {
    "imap": "read mail (IMAP)",
    "smtp": "send mail",
    "pop3": "read mail (POP3)",
    "sieve": "change filters",
}
"""What a device may do, as the form says it."""


@router.get("/me/devices")
async def devices_page(database: DatabaseOf, who: Visitor) -> Response:
    """The devices, without their secrets."""
    return await _page(database, who)


async def _page(
    database: DatabaseOf, who: Principal, *, made: dict[str, object] | None = None, told: str = ""
) -> Response:
    need(who, "self:read")
    found = await app_passwords.list_app_passwords(database, who, who.address)
    return render(
        "devices",
        who,
        "/me",
        422 if told else 200,
        found=found,
        made=made,
        told=told,
        scopes=_SCOPES,
    )


@router.post("/me/devices", dependencies=[SameSite])
async def add_device(request: Request, database: DatabaseOf, who: Visitor) -> Response:
    """Make one; the secret is shown on the page that answers, and never again."""
    need(who, "self:write")
    form = await form_of(request)
    name = form.get("name", "").replace("\0", "").strip()
    scopes = [scope for scope in _SCOPES if scope in form]
    try:
        made = await app_passwords.create_app_password(database, who, who.address, name, scopes)
    except RegistryError as error:
        return await _page(database, who, told=str(error))
    return await _page(database, who, made=made)


@router.post("/me/devices/revoke", dependencies=[SameSite])
async def revoke_device(request: Request, database: DatabaseOf, who: Visitor) -> Response:
    """The device cannot log in any more."""
    need(who, "self:write")
    name = (await form_of(request)).get("name", "").replace("\0", "")
    await app_passwords.revoke_app_password(database, who, who.address, name)
    return to("/me/devices")
