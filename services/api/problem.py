"""Errors as problem details (RFC 9457): each names the field and the rule that it breaks."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.admin.check import PreconditionFailed
from libs.common.admin.principal import Forbidden
from libs.common.blobstore.protocol import BlobError
from libs.common.db import DatabaseUnavailable
from libs.common.queue.protocol import QueueError

MEDIA_TYPE = "application/problem+json"
_STATUS = {NotFound: 404, AlreadyExists: 409, Forbidden: 403, PreconditionFailed: 412}


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str
    rule: str


class ProblemDetails(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = "about:blank"
    status: int = Field(examples=[422])
    title: str = Field(examples=["the request is not valid"])
    detail: str = Field(examples=["see errors"])
    errors: list[FieldError] = Field(default_factory=list)


class Problem(HTTPException):
    """An answer other than success."""

    def __init__(self, status: int, title: str, detail: str, field: str = "") -> None:
        super().__init__(status, detail)
        self.title = title
        self.field = field


def answer(
    status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None
) -> JSONResponse:
    """The problem as a response."""
    body: dict[str, Any] = {"type": "about:blank", "status": status, "title": title}
    body["detail"] = detail
    if errors:
        body["errors"] = errors
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    fields = [{"field": error.field, "rule": error.detail}] if error.field else []
    return answer(error.status_code, error.title, error.detail, fields)


async def _registry(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    fields = [{"field": error.field, "rule": error.rule}]
    status = _STATUS.get(type(error), 422)
    return answer(status, "the request cannot be done", str(error), fields)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [
        {"field": ".".join(str(part) for part in e["loc"][1:]), "rule": str(e["msg"])}
        for e in error.errors()
    ]
    return answer(422, "the request is not valid", "see errors", fields)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    response = answer(error.status_code, str(error.detail), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _away(_: Request, error: Exception) -> JSONResponse:
    return answer(503, "a backend is away", f"{error}; try again later")


def install(app: FastAPI) -> None:
    """Answer every error of ours as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RegistryError, _registry)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for away in (DatabaseUnavailable, QueueError, BlobError):
        app.add_exception_handler(away, _away)


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": ProblemDetails,
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    for status, text in {
        400: "The body cannot be read.",
        401: "No valid key.",
        403: "The role or the scopes of the key do not permit it.",
        404: "There is no such thing, or not within the reach of the key.",
        409: "It exists already, or a request with this Idempotency-Key is under way.",
        412: "It was changed since the ETag that If-Match names.",
        413: "The body is too large.",
        422: "A field is wrong; `errors` names it and the rule.",
        503: "A backend is away; try again later.",
    }.items()
}
"""For the OpenAPI description of every operation."""
