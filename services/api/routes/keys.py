"""/v1/keys: keys of this API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from libs.common.admin import keys
from libs.common.admin.principal import Principal, Role
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Id, Limit, Page, Strict, paged

router = APIRouter(prefix="/keys", tags=["keys"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("keys:read"))]
Write = Annotated[Principal, Depends(Allow("keys:write"))]
Words = Annotated[tuple[str, ...], Field(max_length=100)]


class NewKey(Strict):
    """A key to make."""

    name: str = Field(examples=["monitoring"], min_length=1, max_length=100)
    role: Role = Field(examples=["tenant-admin"])
    tenant: str = Field(default="", max_length=63, description="Of a role below platform-admin.")
    domains: Words = Field(default=(), description="Of a domain-admin.")
    account: str = Field(default="", max_length=320, description="Of the role account.")
    scopes: Words = Field(
        default=(), examples=[["trace:read"]], description="None: all that the role permits."
    )
    networks: Words = Field(
        default=(), examples=[["192.0.2.0/24"]], description="None: usable from anywhere."
    )
    expires_at: float | None = Field(default=None, description="Seconds since the epoch.")


class Key(BaseModel):
    """A key, without its secret."""

    id: int
    name: str
    role: Role
    tenant: str | None
    account: str | None
    domains: list[str]
    scopes: list[str]
    networks: list[str]
    created_by: str
    created_at: float
    last_used_at: float | None
    expires_at: float | None
    revoked_at: float | None


class KeyWithSecret(Key):
    """A new key; `key` is shown this once."""

    key: str


@router.get("", response_model=Page[Key])
async def list_keys(
    database: DatabaseOf, who: Read, cursor: Cursor = "", limit: Limit = 100
) -> Any:
    """Keys by id, revoked ones too."""
    return paged(await keys.list_keys(database, who, cursor=cursor, limit=limit))


@router.post("", status_code=201, response_model=KeyWithSecret)
async def create_key(database: DatabaseOf, who: Write, new: NewKey) -> Any:
    """Make a key; its secret is shown once."""
    return await keys.create_key(
        database,
        who,
        new.name,
        role=new.role,
        tenant_name=new.tenant,
        domains=new.domains,
        address=new.account,
        scopes=new.scopes,
        networks=new.networks,
        expires_at=new.expires_at,
    )


@router.get("/{id}", response_model=Key)
async def get_key(database: DatabaseOf, who: Read, id: Id) -> Any:  # noqa: A002
    """One key."""
    return await keys.get_key(database, who, id)


@router.delete("/{id}", status_code=204)
async def revoke_key(database: DatabaseOf, who: Write, id: Id) -> None:  # noqa: A002
    """Refuse this key from now on."""
    await keys.revoke_key(database, who, id)
