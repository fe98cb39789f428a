"""Who may ask: every operation names one permission, and every request is checked for it.

A bearer key (RFC 6750) for programs; the console has its own way in, by session.  Order of the
refusals: 401 who are you, 403 not with this role or scope, 404 not within your reach.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from libs.common.admin.keys import principal_of_key
from libs.common.admin.principal import Principal
from libs.common.db import Database
from services.api.problem import Problem
from services.platform import Platform

_bearer = HTTPBearer(auto_error=False, description="An API key: holub key create NAME")


def platform_of(request: Request) -> Platform:
    """The platform that the application serves."""
    platform: Platform = request.app.state.platform
    return platform


def database_of(request: Request) -> Database:
    """Its database."""
    return platform_of(request).database


PlatformOf = Annotated[Platform, Depends(platform_of)]
DatabaseOf = Annotated[Database, Depends(database_of)]


def client_of(request: Request) -> str:
    """The address of the client (behind trusted proxies: the one that they name)."""
    return request.client.host if request.client else ""


async def principal_of(request: Request) -> Principal:
    """Who asks; 401 says how to say it.  Looked up once for each request."""
    known: Principal | None = getattr(request.state, "principal", None)
    known = known or request.app.state.operator
    if known is None:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and secret:
            database = database_of(request)
            known = await principal_of_key(database, secret.strip(), client_of(request))
    if known is None:
        raise Problem(401, "unauthorized", "give a valid key: Authorization: Bearer KEY")
    request.state.principal = known
    return known


class Allow:
    """The dependency of an operation that needs a permission."""

    def __init__(self, permission: str) -> None:
        self.permission = permission

    async def __call__(
        self,
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Principal:
        """The principal, who has the permission."""
        who = await principal_of(request)
        if not who.may(self.permission):
            raise Problem(
                403,
                "forbidden",
                f"this needs {self.permission}, which a {who.role} key like"
                " yours does not have; ask an administrator for another key",
            )
        _refuse_unknown(request)
        return who


def permission_of(route: Any) -> str | None:
    """The permission that a route needs, for the documentation and the matrix of tests."""
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Allow):
            return dependency.call.permission
    return None


def _refuse_unknown(request: Request) -> None:
    """A misspelt filter must not silently give everything."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    fields = get_flat_params(route.dependant)
    known = {field.alias for field in fields if isinstance(field.field_info, Query)}
    for name, value in request.query_params.multi_items():
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise Problem(422, "the request is not valid", f"no such parameter; {allowed}", name)
        if "\0" in value:
            raise Problem(422, "the request is not valid", "has a NUL character", name)
