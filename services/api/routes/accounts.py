"""/v1/accounts: who logs in and owns mailboxes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, SecretStr

from libs.common.accounts.credential import hash_password
from libs.common.admin import accounts
from libs.common.admin.principal import Principal, Role
from services.api.access import Allow, DatabaseOf
from services.api.conditional import Precondition, tagged
from services.api.idempotency import Idempotent
from services.api.model import MOST_OCTETS, Cursor, Limit, Name, Page, Search, Strict, paged

router = APIRouter(prefix="/accounts", tags=["accounts"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("accounts:read"))]
Write = Annotated[Principal, Depends(Allow("accounts:write"))]
Mailboxes = Annotated[Principal, Depends(Allow("mailboxes:read"))]


class NewAccount(Strict):
    """An account to create."""

    address: str = Field(examples=["alice@example.org"], min_length=3, max_length=320)
    password: SecretStr = Field(min_length=8, max_length=1000)
    name: str = Field(default="", max_length=200)
    role: Role = Role.ACCOUNT
    quota_octets: int = Field(default=0, ge=0, le=MOST_OCTETS, description="0: no limit")
    quota_messages: int = Field(default=0, ge=0, le=MOST_OCTETS, description="0: no limit")


class AccountChange(Strict):
    """What is given is changed, the rest stays."""

    password: SecretStr | None = Field(default=None, min_length=8, max_length=1000)
    name: str | None = Field(default=None, max_length=200)
    enabled: bool | None = None
    role: Role | None = None
    quota_octets: int | None = Field(default=None, ge=0, le=MOST_OCTETS)
    quota_messages: int | None = Field(default=None, ge=0, le=MOST_OCTETS)


class Account(BaseModel):
    """An account; its password is never shown."""

    address: str
    name: str
    enabled: bool
    role: Role
    quota_octets: int
    quota_messages: int
    used_octets: int
    used_messages: int
    created_at: float


class Mailbox(BaseModel):
    """A mailbox and what it holds."""

    name: str
    special_use: str
    messages: int
    unseen: int
    octets: int
    subscribed: bool


async def changes(change: AccountChange) -> dict[str, Any]:
    """The columns to change, the password hashed."""
    values = change.model_dump(exclude_none=True, exclude={"password"})
    if change.password is not None:
        secret = change.password.get_secret_value()
        values["password_hash"] = await asyncio.to_thread(hash_password, secret)
    return values


@router.get("", response_model=Page[Account])
async def list_accounts(
    database: DatabaseOf,
    who: Read,
    search: Search = "",
    domain: Annotated[str, Query(max_length=253)] = "",
    enabled: bool | None = None,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Accounts by address."""
    return paged(
        await accounts.list_accounts(
            database,
            who,
            search=search,
            domain_name=domain,
            enabled=enabled,
            cursor=cursor,
            limit=limit,
        )
    )


@router.post("", status_code=201, response_model=Account)
async def create_account(database: DatabaseOf, who: Write, new: NewAccount) -> Any:
    """Create an account with the usual mailboxes."""
    hashed = await asyncio.to_thread(hash_password, new.password.get_secret_value())
    values = new.model_dump(exclude={"address", "password"})
    return await accounts.create_account(database, who, new.address, hashed, **values)


@router.get("/{address}", response_model=Account)
async def get_account(
    database: DatabaseOf, who: Read, address: Name, request: Request, response: Response
) -> Any:
    """One account."""
    return tagged(request, response, await accounts.get_account(database, who, address))


@router.patch("/{address}", response_model=Account)
async def change_account(
    database: DatabaseOf,
    who: Write,
    address: Name,
    change: AccountChange,
    check: Precondition,
    request: Request,
    response: Response,
) -> Any:
    """Change name, password, quota, role, or whether it is enabled."""
    values = await changes(change)
    found = await accounts.change_account(database, who, address, check, **values)
    return tagged(request, response, found)


@router.delete("/{address}", status_code=204)
async def delete_account(
    database: DatabaseOf, who: Write, address: Name, check: Precondition
) -> None:
    """Remove an account with its mailboxes, and the aliases that led to it."""
    await accounts.delete_account(database, who, address, check)


@router.get("/{address}/mailboxes", response_model=list[Mailbox])
async def list_mailboxes(database: DatabaseOf, who: Mailboxes, address: Name) -> Any:
    """What each mailbox of an account holds."""
    return await accounts.list_mailboxes(database, who, address)
