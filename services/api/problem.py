"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.db import DatabaseUnavailable
from libs.common.queue.protocol import QueueError

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer other than success."""

    def __init__(self, status: int, title: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.field = field


def _answer(status: int, title: str, detail: str, errors: list[dict[str, str]]) -> JSONResponse:
    body: dict[str, Any] = {"type": "about:blank", "status": status, "title": title}
    body["detail"] = detail
    if errors:
        body["errors"] = errors
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    fields = [{"field": error.field, "rule": error.detail}] if error.field else []
    return _answer(error.status, error.title, error.detail, fields)


async def _registry(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    status = (
        404 if isinstance(error, NotFound) else 409 if isinstance(error, AlreadyExists) else 422
    )
    fields = [{"field": error.field, "rule": error.rule}]
    return _answer(status, "the request cannot be done", str(error), fields)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [
        {"field": ".".join(str(part) for part in e["loc"][1:]), "rule": str(e["msg"])}
        for e in error.errors()
    ]
    return _answer(422, "the request is not valid", "see errors", fields)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, str(error.detail), str(error.detail), [])


async def _away(_: Request, error: Exception) -> JSONResponse:
    return _answer(503, "a backend is away", f"{error}; try again later", [])


def install(app: FastAPI) -> None:
    """Answer every error of ours as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RegistryError, _registry)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DatabaseUnavailable, _away)
    app.add_exception_handler(QueueError, _away)
