"""/v1/accounts: who logs in and owns mailboxes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import select

from libs.common.accounts import registry
from libs.common.accounts.account import canonical
from libs.common.accounts.credential import hash_password
from libs.common.db.schema import account
from services.api.access import DatabaseOf

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])
_MOST = 2**62


class NewAccount(BaseModel):
    """An account to create."""

    model_config = ConfigDict(extra="forbid")
    address: str = Field(examples=["alice@example.org"], max_length=320)
    password: SecretStr = Field(min_length=8, max_length=1000)
    name: str = Field(default="", max_length=200)
    quota_octets: int = Field(default=0, ge=0, le=_MOST, description="0: no limit")
    quota_messages: int = Field(default=0, ge=0, le=_MOST, description="0: no limit")


class AccountChange(BaseModel):
    """What is given is changed, the rest stays."""

    model_config = ConfigDict(extra="forbid")
    password: SecretStr | None = Field(default=None, min_length=8, max_length=1000)
    name: str | None = Field(default=None, max_length=200)
    enabled: bool | None = None
    quota_octets: int | None = Field(default=None, ge=0, le=_MOST)
    quota_messages: int | None = Field(default=None, ge=0, le=_MOST)


class Account(BaseModel):
    """An account; its password is never shown."""

    address: str
    name: str
    enabled: bool
    quota_octets: int
    quota_messages: int
    used_octets: int
    used_messages: int
    created_at: float


def _account(row: Any) -> Account:
    return Account(**{name: getattr(row, name) for name in Account.model_fields})


@router.get("")
async def list_accounts(
    database: DatabaseOf,
    after: Annotated[str, Query(description="Address of the last one seen.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Account]:
    """Accounts by address, from the one after `after`."""
    query = select(account).where(account.c.address > after)
    async with database.reading() as transaction:
        rows = await transaction.rows(query.order_by(account.c.address).limit(limit))
    return [_account(row) for row in rows]


@router.post("", status_code=201)
async def create_account(database: DatabaseOf, new: NewAccount) -> Account:
    """Create an account with the usual mailboxes."""
    hashed = await asyncio.to_thread(hash_password, new.password.get_secret_value())
    await registry.create_accounts(
        database,
        [new.address],
        hashed,
        name=new.name,
        quota_octets=new.quota_octets,
        quota_messages=new.quota_messages,
    )
    return await get_account(database, new.address)


@router.get("/{address}")
async def get_account(database: DatabaseOf, address: str) -> Account:
    """One account."""
    query = select(account).where(account.c.address == canonical(address))
    async with database.reading() as transaction:
        row = await transaction.one_or_none(query)
    if row is None:
        raise registry.NotFound("address", f"there is no account {address}")
    return _account(row)


@router.patch("/{address}")
async def change_account(database: DatabaseOf, address: str, change: AccountChange) -> Account:
    """Change name, password, quota, or whether it is enabled."""
    values = change.model_dump(exclude_none=True, exclude={"password"})
    if change.password is not None:
        secret = change.password.get_secret_value()
        values["password_hash"] = await asyncio.to_thread(hash_password, secret)
    if values:
        await registry.change_account(database, address, **values)
    return await get_account(database, address)
