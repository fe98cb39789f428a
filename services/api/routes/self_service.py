"""/v1/self: what account owners see and change of their own."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, SecretStr

from libs.common.accounts.credential import PasswordVerifier, hash_password
from libs.common.accounts.registry import RegistryError
from libs.common.admin import accounts, app_passwords
from libs.common.admin.principal import Principal, Role
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Name, Strict
from services.api.routes.accounts import Account, Mailbox
from services.api.routes.app_passwords import AppPassword, AppPasswordWithSecret, NewAppPassword

router = APIRouter(prefix="/self", tags=["self"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("self:read"))]
Write = Annotated[Principal, Depends(Allow("self:write"))]


class Whoami(BaseModel):
    """Who the key stands for."""

    actor: str
    role: Role
    permissions: list[str]
    account: Account | None


class OwnChange(Strict):
    """What is given is changed, the rest stays."""

    name: str | None = Field(default=None, max_length=200)
    password: SecretStr | None = Field(default=None, min_length=8, max_length=1000)
    current_password: SecretStr | None = Field(
        default=None, max_length=1000, description="Needed to change the password."
    )


def own_address(who: Principal) -> str:
    """Of the account that the key stands for."""
    if not who.address:
        raise RegistryError("account", "this key stands for no account; use one with an account")
    return who.address


@router.get("", response_model=Whoami)
async def whoami(database: DatabaseOf, who: Read) -> Any:
    """Who am I, and what may I do?"""
    own = await accounts.get_account(database, who, who.address) if who.address else None
    return {
        "actor": who.actor,
        "role": who.role,
        "permissions": sorted(who.permissions),
        "account": own,
    }


@router.patch("", response_model=Account)
async def change_self(database: DatabaseOf, who: Write, change: OwnChange) -> Any:
    """Change one's own name or password."""
    address = own_address(who)
    values: dict[str, Any] = {} if change.name is None else {"name": change.name}
    if change.password is not None:
        await _prove(database, who, change.current_password)
        secret = change.password.get_secret_value()
        values["password_hash"] = await asyncio.to_thread(hash_password, secret)
    return await accounts.change_account(database, who, address, **values)


async def _prove(database: DatabaseOf, who: Principal, given: SecretStr | None) -> None:
    """A stolen key or an open screen must not be enough to take the account over."""
    async with database.reading() as transaction:
        row = await accounts.account_of(transaction, who, who.address)
    secret = given.get_secret_value() if given else ""
    if not await PasswordVerifier(1).verify(row.password_hash, secret):
        raise RegistryError("current_password", "is not the current password")


@router.get("/mailboxes", response_model=list[Mailbox])
async def own_mailboxes(database: DatabaseOf, who: Read) -> Any:
    """What each of one's mailboxes holds."""
    return await accounts.list_mailboxes(database, who, own_address(who))


@router.get("/app-passwords", response_model=list[AppPassword])
async def own_app_passwords(database: DatabaseOf, who: Read) -> Any:
    """One's own app passwords by name."""
    return await app_passwords.list_app_passwords(database, who, own_address(who))


@router.post("/app-passwords", status_code=201, response_model=AppPasswordWithSecret)
async def create_own_app_password(database: DatabaseOf, who: Write, new: NewAppPassword) -> Any:
    """Make an app password for a device of one's own; its secret is shown once."""
    return await app_passwords.create_app_password(
        database, who, own_address(who), new.name, new.scopes, expires_at=new.expires_at
    )


@router.delete("/app-passwords/{device}", status_code=204)
async def revoke_own_app_password(database: DatabaseOf, who: Write, device: Name) -> None:
    """The device cannot log in any more."""
    await app_passwords.revoke_app_password(database, who, own_address(who), device)
