"""Who sits at the console: sessions by cookie, and requests that other sites cannot forge."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from libs.common.admin.principal import Principal
from libs.common.admin.sessions import SECONDS, principal_of_session
from services.api.access import client_of, database_of
from services.api.problem import Problem

COOKIE = "holub_session"
_FAILURES, _WINDOW, _KEPT = 10, 300.0, 10_000


class LoginNeeded(Exception):
    """Whoever has no session is shown the way to one."""


async def visitor(request: Request) -> Principal:
    """Who asks for this page; `LoginNeeded` when nobody is logged in."""
    token = request.cookies.get(COOKIE, "")
    found = None
    if token:
        found = await principal_of_session(database_of(request), token, client_of(request))
    if found is None:
        raise LoginNeeded
    return found


async def same_site(request: Request) -> None:
    """A change must come from one of our own pages (besides SameSite of the cookie)."""
    source = request.headers.get("origin") or request.headers.get("referer", "")
    if not source or urlsplit(source).netloc != request.headers.get("host"):
        raise Problem(403, "forbidden", "the form was not sent from a page of this console")


Visitor = Annotated[Principal, Depends(visitor)]
SameSite = Depends(same_site)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; `Problem` when they are not text."""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=20)
    except (UnicodeDecodeError, ValueError) as error:
        raise Problem(400, "bad form", "the form cannot be read") from error
    return {name: values[0].replace("\0", "") for name, values in fields.items()}


def with_cookie(response: Response, token: str, *, secure: bool) -> Response:
    """Keep the session: out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE, token, int(SECONDS), httponly=True, secure=secure, samesite="lax", path="/"
    )
    return response


def to(where: str) -> Response:
    """Show another page after a form."""
    return RedirectResponse(where, 303)


class Failures:
    """Wrong passwords of one client for one address: after ten in five minutes, wait."""

    def __init__(self) -> None:
        self._at: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def too_many(self, client: str, address: str) -> bool:
        """Must this one wait?"""
        since = time.monotonic() - _WINDOW
        return len([at for at in self._at.get((client, address), ()) if at > since]) >= _FAILURES

    def note(self, client: str, address: str) -> None:
        """One more."""
        times = self._at.setdefault((client, address), [])
        times.append(time.monotonic())
        del times[:-_FAILURES]
        self._at.move_to_end((client, address))
        if len(self._at) > _KEPT:
            self._at.popitem(last=False)
