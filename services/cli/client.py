"""The command line is a client of the management API.

With HOLUB_API_URL and HOLUB_API_KEY it asks a server; without, it runs the same application on the
database that the settings name, as the operator of this machine.  Either way the same rules hold
and the same audit is written.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from services.cli.refused import Refused

Query = dict[str, Any]


def path(*parts: object) -> str:
    """A path below /v1, each part quoted."""
    return "/v1/" + "/".join(quote(str(part), safe="@") for part in parts)


def call(
    method: str, where: str, *, query: Query | None = None, body: Any = None, once: str = ""
) -> Any:
    """Ask, and give the JSON of the answer (None: nothing); `Refused` when it is an error."""
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if raw else {}
    if once:
        headers["Idempotency-Key"] = once
    status, content = _ask(method, _url(where, query), headers, raw)
    if status >= 400:
        raise Refused(status, _problem(content))
    return json.loads(content) if content else None


def pages(where: str, query: Query | None = None, most: int = 0) -> list[dict[str, Any]]:
    """All items of a list, or the first `most`."""
    found: list[dict[str, Any]] = []
    query = {**(query or {}), "limit": min(most, 1000) if most else 1000}
    while True:
        page = call("GET", where, query=query)
        found += page["items"]
        if not page["next"] or (most and len(found) >= most):
            return found[:most] if most else found
        query["cursor"] = page["next"]


def lines(
    method: str, where: str, *, query: Query | None = None, body: bytes = b"", kind: str = ""
) -> Iterator[bytes]:
    """The lines of an answer that goes on, as they come; `Refused` when it is an error."""
    headers = {"Content-Type": kind} if kind else {}
    base = os.environ.get("HOLUB_API_URL")
    url = _url(where, query)
    return (
        _remote_lines(base, method, url, headers, body)
        if base
        else _local_lines(method, url, headers, body)
    )


def _url(where: str, query: Query | None) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in (query or {}).items()
        if value not in (None, "")
    }
    return f"{where}?{urlencode(given)}" if given else where


def _problem(content: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(content))
    except ValueError:
        return {"detail": content.decode(errors="replace")[:300]}


def _ask(method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    if base := os.environ.get("HOLUB_API_URL"):
        status, answer = _open(base, method, url, headers, body)
        with answer:
            return status, answer.read()
    from services.cli.local import ask

    return asyncio.run(ask(method, url, headers, body))


def _open(base: str, method: str, url: str, headers: dict[str, str], body: bytes) -> Any:
    """(status, open answer) of a server."""
    import urllib.error
    import urllib.request

    key = os.environ.get("HOLUB_API_KEY", "")
    if not key and (file := os.environ.get("HOLUB_API_KEY_FILE")):
        key = Path(file).read_text().strip()
    request = urllib.request.Request(  # noqa: S310 (the operator's own setting)
        base.rstrip("/") + url, body or None, headers, method=method
    )
    # Unredirected: the key is for this server only.
    request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        answer = urllib.request.urlopen(request, timeout=600)  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code, error
    except urllib.error.URLError as error:
        raise OSError(f"{base}: {error.reason}; is HOLUB_API_URL right?") from error
    return answer.status, answer


def _remote_lines(
    base: str, method: str, url: str, headers: dict[str, str], body: bytes
) -> Iterator[bytes]:
    status, answer = _open(base, method, url, headers, body)
    with answer:
        if status >= 400:
            raise Refused(status, _problem(answer.read()))
        yield from answer


def _local_lines(method: str, url: str, headers: dict[str, str], body: bytes) -> Iterator[bytes]:
    from services.cli.local import stream

    status, chunks = stream(method, url, headers, body)
    if status >= 400:
        raise Refused(status, _problem(b"".join(chunks)))
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest
