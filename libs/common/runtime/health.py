"""The health and metrics listener: /livez, /readyz, /startupz and /metrics over plain HTTP.

Liveness says only that the event loop turns; it never looks at a broker, a database or
a store, for their outage must not restart us.  Readiness is what the roles say of themselves.
"""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class Health:
    """What this process says of itself."""

    def __init__(self) -> None:
        self._roles: dict[str, bool] = {}
        self._away: set[str] = set()
        self._draining = False

    def expect(self, role: str) -> None:
        """This role will say when it is ready."""
        self._roles.setdefault(role, False)

    def ready(self, role: str, ready: bool) -> None:
        """A role is ready, or is so no more."""
        self._roles[role] = ready

    def wait_for(self, backend: str, *, reached: bool = False) -> None:
        """No role can start before this backend answers; or it has."""
        (self._away.discard if reached else self._away.add)(backend)

    def drain(self) -> None:
        """From now on this process takes nothing new."""
        self._draining = True

    @property
    def waiting_for(self) -> list[str]:
        """Roles that are not ready."""
        return sorted(role for role, ready in self._roles.items() if not ready)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """(status, content type, body) of a GET."""
        match path:
            case "/livez":
                return 200, "text/plain", b"ok\n"
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest()
            case "/readyz" | "/startupz":
                if self._draining and path == "/readyz":
                    return 503, "text/plain", b"draining\n"
                if self._away and path == "/startupz":
                    # We did start: to be restarted would bring no backend back.
                    return 200, "text/plain", b"ok, and waiting for a backend\n"
                if waiting := sorted(self._away) or self.waiting_for:
                    return 503, "text/plain", f"waiting for: {', '.join(waiting)}\n".encode()
                return 200, "text/plain", b"ok\n"
            case _:
                return 404, "text/plain", b"try /livez, /readyz, /startupz or /metrics\n"

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Serve until the returned server is closed."""
        return await asyncio.start_server(self._serve, host, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                request = await reader.readuntil(b"\r\n\r\n")
                words = request.split(b"\r\n", 1)[0].split()
                path = words[1].decode("latin-1").split("?")[0] if len(words) > 1 else "/"
                status, kind, body = self.answer(path)
                head = (
                    f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}\r\n"
                    f"Content-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # A probe that went away is nobody's fault, and nothing is lost by it.
        finally:
            writer.close()
