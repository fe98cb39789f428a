"""/v1/accounts/ADDRESS/app-passwords: one for each device, limited to what it needs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from libs.common.admin import app_passwords
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Name, Strict

router = APIRouter(prefix="/accounts", tags=["app passwords"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("accounts:read"))]
Write = Annotated[Principal, Depends(Allow("accounts:write"))]
Scope = Literal["smtp", "imap", "pop3", "sieve"]


class NewAppPassword(Strict):
    """An app password to make."""

    name: str = Field(examples=["telephone"], min_length=1, max_length=100, pattern=r"\S")
    scopes: list[Scope] = Field(
        default=["smtp", "imap", "pop3", "sieve"], min_length=1, max_length=4
    )
    expires_at: float | None = Field(default=None, description="Seconds since the epoch.")


class AppPassword(BaseModel):
    """An app password, without its secret."""

    name: str
    scopes: list[str]
    created_at: float
    last_used_at: float | None
    expires_at: float | None


class AppPasswordWithSecret(AppPassword):
    """A new app password; `secret` is shown this once."""

    secret: str


@router.get("/{address}/app-passwords", response_model=list[AppPassword])
async def list_app_passwords(database: DatabaseOf, who: Read, address: Name) -> Any:
    """Those of an account by name."""
    return await app_passwords.list_app_passwords(database, who, address)


@router.post("/{address}/app-passwords", status_code=201, response_model=AppPasswordWithSecret)
async def create_app_password(
    database: DatabaseOf, who: Write, address: Name, new: NewAppPassword
) -> Any:
    """Make an app password; its secret is shown once."""
    return await app_passwords.create_app_password(
        database, who, address, new.name, new.scopes, expires_at=new.expires_at
    )


@router.delete("/{address}/app-passwords/{device}", status_code=204)
async def revoke_app_password(
    database: DatabaseOf, who: Write, address: Name, device: Name
) -> None:
    """The device cannot log in any more."""
    await app_passwords.revoke_app_password(database, who, address, device)
