"""/v1/import: many accounts or aliases at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from libs.common.accounts.registry import RegistryError
from libs.common.admin import bulk
from libs.common.admin.principal import Principal
from libs.common.db import DatabaseUnavailable
from services.api.access import Allow, DatabaseOf
from services.api.problem import FieldError, Problem

router = APIRouter(prefix="/import", tags=["import"])
Write = Annotated[Principal, Depends(Allow("accounts:write"))]
JSON_LINES = "application/x-ndjson"
_KINDS = ("text/csv", JSON_LINES)


class Kind(StrEnum):
    """What the lines are."""

    ACCOUNTS = "accounts"
    ALIASES = "aliases"


class Line(BaseModel):
    """One line of the answer: how far the import is."""

    total: int
    done: int
    created: int
    skipped: int
    errors: list[FieldError]


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}, "examples": {"one": {"value": text}}}
            for kind, text in (
                ("text/csv", "address,password,name\nalice@example.org,long enough,Alice\n"),
                (JSON_LINES, '{"address": "alice@example.org", "password": "long enough"}\n'),
            )
        },
    }
}


@router.post(
    "/{kind}",
    response_class=StreamingResponse,
    responses={200: {"model": Line, "content": {JSON_LINES: {"schema": {"type": "string"}}}}},
    openapi_extra=_BODY,
)
async def import_lines(
    database: DatabaseOf,
    who: Write,
    request: Request,
    kind: Kind,
    dry_run: bool = False,
    skip_existing: bool = False,
) -> StreamingResponse:
    """Create what the lines of CSV (with a line of names) or JSON say; nothing if one is wrong.

    The answer is JSON lines of progress, the last one with the result.  A dry run checks all.
    """
    if kind is Kind.ALIASES and not who.may("aliases:write"):
        raise Problem(403, "forbidden", "this needs aliases:write")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _KINDS:
        rule = f"is {' or '.join(_KINDS)}"
        raise Problem(415, "unsupported media type", rule, "Content-Type")
    rows = bulk.read_rows(await request.body(), media_type)
    run = bulk.run_import(database, who, kind, rows, dry_run=dry_run, skip_existing=skip_existing)
    return StreamingResponse(_lines(run), media_type=JSON_LINES)


async def _lines(run: AsyncIterator[bulk.Progress]) -> AsyncIterator[bytes]:
    """An error amid the import is told in the last line, for the status is sent already."""
    last: dict[str, Any] = {}
    try:
        async for progress in run:
            last = asdict(progress)
            yield orjson.dumps(last) + b"\n"
    except (RegistryError, DatabaseUnavailable) as error:
        field = error.field if isinstance(error, RegistryError) else "database"
        wrong = {"field": field, "rule": f"stopped after {last.get('created', 0)}: {error}"}
        yield orjson.dumps({**last, "errors": [wrong]}) + b"\n"
