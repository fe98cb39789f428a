"""The HTTP application."""

from __future__ import annotations

import re

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.admin.principal import Principal
from services.api import problem, well_known
from services.api.idempotency import Idempotent
from services.api.routes import RESOURCES
from services.platform import Platform

_DESCRIPTION = """Management API of the mail platform.

Lists come in pages: give `next` as `cursor`. Changes take `If-Match` with the `ETag` that was
seen. A POST with an `Idempotency-Key` can be sent again safely. Errors are problem details
(RFC 9457) whose `errors` name the field and the rule."""


_MAIL = re.compile(r"/v1/(?:self|accounts/[^/]+)/mail")


class BodyLimit:
    """Refuses request bodies over a size, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, most: int, most_import: int, most_mail: int) -> None:
        self._app = app
        self._most = most
        self._most_import = most_import
        self._most_mail = most_mail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        most = self._most_of(scope.get("method", ""), scope.get("path", ""))
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise problem.Problem(413, "too large", f"a body has at most {most} octets")
            return message

        await self._app(scope, counted, send)

    def _most_of(self, method: str, path: str) -> int:
        # Bodies are read before anybody asks who sends them; only this one is never in memory.
        if method == "POST" and _MAIL.fullmatch(path):
            return self._most_mail
        return self._most_import if path.startswith("/v1/import") else self._most


def make_application(
    platform: Platform,
    max_body_octets: int = 1 << 20,
    *,
    max_import_octets: int = 1 << 26,
    max_mail_octets: int = 1 << 36,
    operator: Principal | None = None,
) -> FastAPI:
    """The application on the platform's backends.

    With an `operator` every request is his: for the command line, which opens the database itself.
    """
    app = FastAPI(title="Holub", version="1", description=_DESCRIPTION)
    app.state.platform = platform
    app.state.operator = operator
    app.add_middleware(
        BodyLimit,
        most=max_body_octets,
        most_import=max_import_octets,
        most_mail=max_mail_octets,
    )
    problem.install(app)
    api = APIRouter(prefix="/v1", route_class=Idempotent, responses=problem.ERRORS)
    for resource in RESOURCES:
        api.include_router(resource)
    app.include_router(api)
    app.include_router(well_known.router)
    if operator is None:
        # The command line needs no pages, and would wait for what draws them.
        from services.api.console import pages

        pages.install(app)

    @app.get("/livez", include_in_schema=False)
    @app.get("/readyz", include_in_schema=False)
    async def health(request: Request) -> Response:
        status, kind, body = platform.health.answer(request.url.path)
        return Response(body, status, media_type=kind)

    return app
