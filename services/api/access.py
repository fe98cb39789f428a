"""Who may ask: a bearer key, checked for every request below /v1 (RFC 6750)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from libs.common.accounts.keys import key_name
from libs.common.db import Database
from services.api.problem import Problem

_bearer = HTTPBearer(auto_error=False, description="An API key: holub key create NAME")


def database_of(request: Request) -> Database:
    """The database of the application."""
    database: Database = request.app.state.platform.database
    return database


DatabaseOf = Annotated[Database, Depends(database_of)]


async def require_key(
    database: DatabaseOf,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The name of the key that was given; 401 says how to get one."""
    name = await key_name(database, credentials.credentials) if credentials else None
    if name is None:
        raise Problem(401, "unauthorized", "give a valid key: Authorization: Bearer KEY")
    return name
