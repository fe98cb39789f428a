"""Idempotency-Key: a POST that is sent again is answered again, and done once.

What was answered is kept for a day, encrypted with the client's key, of which only a hash is
stored: so the secret of a new API key cannot be read out of the database.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import delete, select, update

from libs.common.db import Database, Transaction
from libs.common.db.schema import idempotency
from services.api.access import database_of, principal_of
from services.api.problem import Problem

KEEP_SECONDS = 86400.0
_UNDER_WAY_SECONDS = 120.0
_MOST = 200
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Idempotent(APIRoute):
    """A route that honours Idempotency-Key on POST."""

    def get_route_handler(self) -> Handler:
        """The handler of FastAPI inside of ours."""
        handle = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return handle

        async def once(request: Request) -> Response:
            key = request.headers.get("idempotency-key")
            if key is None:
                return await handle(request)
            return await _once(request, key, handle)

        return once


async def _once(request: Request, key: str, handle: Handler) -> Response:
    if not 8 <= len(key) <= _MOST:
        raise Problem(
            422, "the request is not valid", f"has 8 to {_MOST} characters", "Idempotency-Key"
        )
    who = await principal_of(request)
    body = await request.body()
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
    own = f"{who.actor}\0{who.tenant_id}\0{who.account_id}\0{key}".encode()
    name, secret = hashlib.sha256(b"name" + own).hexdigest(), hashlib.sha256(b"key" + own).digest()
    database = database_of(request)
    if known := await _begin(database, name, hashlib.sha256(asked).hexdigest()):
        return _again(known, secret)
    try:
        response = await handle(request)
    except BaseException:
        await _forget(database, name)
        raise
    await _keep(database, name, response, secret)
    return response


async def _begin(database: Database, name: str, fingerprint: str) -> Any:
    """The row of the answer that was given already; None: it is ours to do now."""
    now = time.time()
    row = {
        "key_hash": name,
        "fingerprint": fingerprint,
        "answer": b"",
        "expires_at": now + _UNDER_WAY_SECONDS,
    }
    async with database.transaction() as transaction:
        await transaction.execute(delete(idempotency).where(idempotency.c.expires_at < now))
        if await transaction.insert_new(idempotency, [row], ("key_hash",)):
            return None
        known = await _known(transaction, name)
    if known.fingerprint != fingerprint:
        raise Problem(
            422,
            "the request is not valid",
            "was used for another request; take a new one",
            "Idempotency-Key",
        )
    if not known.status:
        raise Problem(409, "under way", "the first request with this key is not done; wait")
    return known


async def _known(transaction: Transaction, name: str) -> Any:
    return await transaction.one_or_none(select(idempotency).where(idempotency.c.key_hash == name))


async def _forget(database: Database, name: str) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(delete(idempotency).where(idempotency.c.key_hash == name))


async def _keep(database: Database, name: str, response: Response, secret: bytes) -> None:
    kind = response.headers.get("content-type", "")
    nonce = os.urandom(12)
    content = orjson.dumps([kind, bytes(response.body).decode()])
    sealed = nonce + AESGCM(secret).encrypt(nonce, content, name.encode())
    values = {
        "status": response.status_code,
        "answer": sealed,
        "expires_at": time.time() + KEEP_SECONDS,
    }
    async with database.transaction() as transaction:
        await transaction.execute(
            update(idempotency).where(idempotency.c.key_hash == name).values(**values)
        )


def _again(row: Any, secret: bytes) -> Response:
    nonce, sealed = row.answer[:12], row.answer[12:]
    try:
        content = AESGCM(secret).decrypt(nonce, sealed, row.key_hash.encode())
    except InvalidTag as error:
        raise Problem(409, "conflict", "the kept answer cannot be read; use a new key") from error
    kind, body = orjson.loads(content)
    headers = {"content-type": kind, "Idempotency-Replayed": "true"}
    return Response(body, row.status, headers)
