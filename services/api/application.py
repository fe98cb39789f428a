"""The HTTP application."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api import problem
from services.api.access import require_key
from services.api.routes import accounts, aliases, domains, queues, trace
from services.platform import Platform


class BodyLimit:
    """Refuses request bodies over a size, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise problem.Problem(413, "too large", f"a body has at most {self._most} octets")
            return message

        await self._app(scope, counted, send)


def make_application(platform: Platform, max_body_octets: int) -> FastAPI:
    """The application on the platform's backends."""
    app = FastAPI(title="Holub", version="1", description="Management API of the mail platform.")
    app.state.platform = platform
    app.add_middleware(BodyLimit, most=max_body_octets)
    problem.install(app)
    for resource in (domains, accounts, aliases, trace, queues):
        app.include_router(resource.router, dependencies=[Depends(require_key)])

    @app.get("/livez", include_in_schema=False)
    @app.get("/readyz", include_in_schema=False)
    async def health(request: Request) -> Response:
        status, kind, body = platform.health.answer(request.url.path)
        return Response(body, status, media_type=kind)

    return app
