"""What all pages have in common: the frame, the headers, errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin.principal import Principal
from services.api.problem import Problem

FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MENU = (
    ("/", "Overview", "self:read"),
    ("/trace", "Trace", "trace:read"),
    ("/quarantine", "Quarantine", "quarantine:read"),
    ("/domains", "Domains", "domains:read"),
    ("/accounts", "Accounts", "accounts:read"),
    ("/waiting", "Waiting mail", "queue:read"),
    ("/queues", "Queues", "queues:read"),
    ("/audit", "Audit", "audit:read"),
    ("/me", "My account", "self:read"),
)
Text = Annotated[str, Query(max_length=1000)]


def _clock(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined
    )
    made.filters["clock"] = _clock
    return made


_TEMPLATES = _environment()


def render(
    name: str, who: Principal | None, where: str = "", status: int = 200, **values: Any
) -> Response:
    """A page for somebody; `where` is the entry of the menu that it belongs to."""
    menu = [(path, text) for path, text, needs in MENU if who and who.may(needs)]
    html = _TEMPLATES.get_template(f"{name}.html").render(who=who, menu=menu, here=where, **values)
    return HTMLResponse(html, status, HEADERS)


def need(who: Principal, permission: str) -> None:
    """403 when that may not be seen or done."""
    if not who.may(permission):
        raise Problem(403, "forbidden", f"this page needs {permission}")


class PageRoute(APIRoute):
    """A page whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI inside of ours."""
        handle = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await handle(request)
            except RegistryError as error:
                status = 404 if isinstance(error, NotFound) else 422
                return render("error", None, status=status, text=str(error))
            except Problem as error:
                return render("error", None, status=error.status_code, text=error.detail)

        return page
