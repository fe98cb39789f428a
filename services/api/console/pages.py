"""The pages.  Each needs the same permission as the operation of the API that it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from libs.common.accounts.authenticator import Attempt, TooManyFailures, WrongCredentials
from libs.common.accounts.credential import PasswordVerifier, hash_password
from libs.common.accounts.registry import RegistryError
from libs.common.admin import (
    accounts,
    audit,
    dkim,
    domains,
    parked,
    quarantine,
    queues,
    release,
    trace,
)
from libs.common.admin.doctor import examine, records_for
from libs.common.admin.principal import Principal
from libs.common.admin.sessions import close_session, open_session
from libs.common.dns import open_resolver
from services.api.access import DatabaseOf, PlatformOf, client_of
from services.api.console import deleted, devices, waiting
from services.api.console.page import FOLDER, PageRoute, Text
from services.api.console.page import need as _need
from services.api.console.page import render as _page
from services.api.console.visitor import (
    COOKIE,
    Failures,
    LoginNeeded,
    SameSite,
    Visitor,
    form_of,
    to,
    with_cookie,
)
from services.api.problem import Problem
from services.api.site import site_of

_STATIC = {
    "htmx.min.js": "text/javascript",
    "console.css": "text/css",
    "htmx.LICENSE": "text/plain; charset=utf-8",
}
router = APIRouter(
    include_in_schema=False, default_response_class=HTMLResponse, route_class=PageRoute
)


def install(app: FastAPI) -> None:
    """Add the pages to the application."""
    app.state.failures = Failures()
    app.include_router(router)
    for part in (deleted, devices, waiting):
        app.include_router(part.router)

    async def login_needed(_: Request, __: Exception) -> Response:
        return to("/login")

    app.add_exception_handler(LoginNeeded, login_needed)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Script and style, from this package only."""
    if name not in _STATIC:
        raise Problem(404, "not found", "there is no such file")
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    return FileResponse(FOLDER / "static" / name, media_type=_STATIC[name], headers=headers)


@router.get("/login")
async def login_page() -> Response:
    """The way in."""
    return _page("login", None, wrong="")


@router.post("/login", dependencies=[SameSite])
async def login(request: Request, platform: PlatformOf) -> Response:
    """Address and password of an account."""
    form = await form_of(request)
    address, client = form.get("address", "").strip().lower(), client_of(request)
    failures: Failures = request.app.state.failures
    if failures.too_many(client, address):
        text = "Too many wrong passwords; wait five minutes."
        return _page("login", None, status=429, wrong=text)
    attempt = Attempt("console", client)
    try:
        authenticator = await platform.authenticator()
        owner = await authenticator.password(address, form.get("password", ""), attempt)
    except TooManyFailures as error:
        return _page("login", None, status=429, wrong=f"{str(error).capitalize()}.")
    except WrongCredentials:
        failures.note(client, address)
        return _page("login", None, status=401, wrong="Wrong address or password.")
    token = await open_session(platform.database, owner, client)
    return with_cookie(to("/"), token, secure=request.url.scheme == "https")


@router.post("/logout", dependencies=[SameSite])
async def logout(request: Request, database: DatabaseOf) -> Response:
    """End the session."""
    await close_session(database, request.cookies.get(COOKIE, ""))
    response = to("/login")
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/")
async def overview(platform: PlatformOf, who: Visitor) -> Response:
    """What is accounted for, what waits; for account owners, their mailboxes."""
    database = platform.database
    waiting: Sequence[dict[str, Any]] = []
    unaccounted = None
    if who.may("queues:read"):
        waiting = await queues.list_queues(database, platform.queue, who)
        unaccounted = await queues.unaccounted(database)
    latest, _ = await trace.search(database, who, trace.Wanted(), limit=10)
    held, more = await quarantine.list_quarantine(database, who, limit=100)
    return _page(
        "overview",
        who,
        "/",
        waiting=waiting,
        unaccounted=unaccounted,
        messages=latest,
        held=f"{len(held)}{'+' if more else ''}",
    )


@router.get("/trace")
async def trace_page(
    request: Request,
    database: DatabaseOf,
    who: Visitor,
    q: Text = "",
    state: Text = "",
    cursor: Text = "",
) -> Response:
    """Search; htmx asks for the list alone."""
    _need(who, "trace:read")
    rough = trace.guess(q) if q.strip() else trace.Wanted()
    wanted = trace.Wanted(
        rough.mail_id, rough.message_id, rough.address, subject=rough.subject, state=state
    )
    found, after = await trace.search(database, who, wanted, cursor=cursor, limit=25)
    alone = request.headers.get("hx-request") == "true"
    return _page(
        "messages" if alone else "trace",
        who,
        "/trace",
        messages=found,
        q=q,
        state=state,
        states=trace.STATES,
        after=after,
    )


@router.get("/trace/{mail_id}")
async def story_page(database: DatabaseOf, who: Visitor, mail_id: str) -> Response:
    """The timeline of one message."""
    _need(who, "trace:read")
    story = await trace.story(database, who, mail_id.replace("\0", ""))
    return _page("story", who, "/trace", story=story)


@router.get("/quarantine")
async def quarantine_page(database: DatabaseOf, who: Visitor, cursor: Text = "") -> Response:
    """What is held."""
    _need(who, "quarantine:read")
    found, after = await quarantine.list_quarantine(database, who, cursor=cursor, limit=50)
    return _page(
        "quarantine",
        who,
        "/quarantine",
        held=found,
        after=after,
        may_change=who.may("quarantine:write"),
    )


@router.post("/quarantine/{mail_id}/{n}/{action}", dependencies=[SameSite])
async def decide_held(
    platform: PlatformOf, who: Visitor, mail_id: str, n: int, action: str
) -> Response:
    """Release or delete what is held."""
    _need(who, "quarantine:write")
    mail_id = mail_id.replace("\0", "")
    if action == "release":
        await release.release(platform.database, platform.blobs, who, mail_id, [n])
    elif action == "delete":
        await release.discard(platform.database, who, mail_id, n)
    else:
        raise Problem(404, "not found", "there is no such action")
    return to("/quarantine")


@router.get("/domains")
async def domains_page(database: DatabaseOf, who: Visitor, cursor: Text = "") -> Response:
    """The domains."""
    _need(who, "domains:read")
    found, after = await domains.list_domains(database, who, cursor=cursor, limit=50)
    return _page("domains", who, "/domains", domains=found, after=after)


@router.get("/domains/{name}")
async def domain_page(database: DatabaseOf, who: Visitor, name: str) -> Response:
    """One domain: what to publish; the doctor comes by htmx, because it takes its time."""
    _need(who, "doctor:read")
    found = await domains.get_domain(database, who, name.replace("\0", ""))
    site = site_of()
    keys = await dkim.list_keys(database, who, found["name"])
    records = records_for(found["name"], site.mail_host, site.mta_sts_mode, keys)
    return _page("domain", who, "/domains", domain=found, records=records)


@router.get("/domains/{name}/doctor")
async def doctor_part(platform: PlatformOf, who: Visitor, name: str) -> Response:
    """The findings alone."""
    _need(who, "doctor:read")
    found = await domains.get_domain(platform.database, who, name.replace("\0", ""))
    keys = await dkim.list_keys(platform.database, who, found["name"])
    resolver = open_resolver(platform.settings.dns_servers)
    try:
        findings = await examine(resolver, found["name"], site_of(), keys)
    finally:
        await resolver.close()
    return _page("doctor", who, findings=[asdict(item) for item in findings])


@router.get("/accounts")
async def accounts_page(
    database: DatabaseOf, who: Visitor, search: Text = "", cursor: Text = ""
) -> Response:
    """The accounts."""
    _need(who, "accounts:read")
    found, after = await accounts.list_accounts(
        database, who, search=search.replace("\0", ""), cursor=cursor, limit=50
    )
    return _page(
        "accounts",
        who,
        "/accounts",
        accounts=found,
        after=after,
        search=search,
        may_change=who.may("accounts:write"),
        may_restore=who.may("mailboxes:read"),
    )


@router.post("/accounts/{address}/{action}", dependencies=[SameSite])
async def switch_account(database: DatabaseOf, who: Visitor, address: str, action: str) -> Response:
    """Enable or disable an account."""
    _need(who, "accounts:write")
    if action not in ("enable", "disable"):
        raise Problem(404, "not found", "there is no such action")
    await accounts.change_account(database, who, address, enabled=action == "enable")
    return to("/accounts")


@router.get("/queues")
async def queues_page(platform: PlatformOf, who: Visitor, cursor: Text = "") -> Response:
    """What waits where, and what is parked."""
    _need(who, "queues:read")
    database = platform.database
    waiting = await queues.list_queues(database, platform.queue, who)
    held, after = await parked.list_parked(database, who, cursor=cursor, limit=50)
    return _page("queues", who, "/queues", waiting=waiting, parked=held, after=after)


@router.post("/queues/parked/{number}/replay", dependencies=[SameSite])
async def replay(platform: PlatformOf, who: Visitor, number: int) -> Response:
    """Put a parked job back."""
    _need(who, "parked:write")
    await parked.replay(platform.database, platform.queue, who, number)
    return to("/queues")


@router.get("/audit")
async def audit_page(database: DatabaseOf, who: Visitor, cursor: Text = "") -> Response:
    """Who changed what."""
    _need(who, "audit:read")
    found, after = await audit.list_audit(database, who, cursor=cursor, limit=50)
    return _page("audit", who, "/audit", entries=found, after=after)


@router.get("/me")
async def me_page(database: DatabaseOf, who: Visitor) -> Response:
    """One's own account."""
    return await _me(database, who, "")


async def _me(database: DatabaseOf, who: Principal, told: str, status: int = 200) -> Response:
    own = await accounts.get_account(database, who, who.address)
    boxes = await accounts.list_mailboxes(database, who, who.address)
    return _page("me", who, "/me", status, own=own, mailboxes=boxes, told=told)


@router.post("/me/password", dependencies=[SameSite])
async def new_password(request: Request, database: DatabaseOf, who: Visitor) -> Response:
    """Change one's own password; this and every other session of the account ends."""
    form = await form_of(request)
    new = form.get("new", "")
    if not 8 <= len(new) <= 1000:
        return await _me(database, who, "The new password needs 8 to 1000 characters.", 422)
    if new != form.get("again", ""):
        return await _me(database, who, "The two new passwords differ.", 422)
    async with database.reading() as transaction:
        row = await accounts.account_of(transaction, who, who.address)
    if not await PasswordVerifier(1).verify(row.password_hash, form.get("current", "")):
        return await _me(database, who, "That is not your current password.", 422)
    hashed = await asyncio.to_thread(hash_password, new)
    try:
        await accounts.change_account(database, who, who.address, password_hash=hashed)
    except RegistryError as error:
        return await _me(database, who, str(error), 422)
    return to("/login")
