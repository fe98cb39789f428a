"""/v1/domains/NAME/dkim: the keys that sign a domain's mail."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from libs.common.accounts.dkim_keys import ED25519, RSA
from libs.common.admin import dkim
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.idempotency import Idempotent
from services.api.model import Name, Strict

router = APIRouter(prefix="/domains", tags=["DKIM"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("domains:read"))]
Write = Annotated[Principal, Depends(Allow("domains:write"))]


class Algorithm(StrEnum):
    """Of a signature (RFC 6376 §3.3, RFC 8463)."""

    RSA = RSA
    ED25519 = ED25519


class NewDkimKeys(Strict):
    """Keys to make, or one to take over from elsewhere."""

    algorithms: list[Algorithm] = Field(
        default=[Algorithm.RSA, Algorithm.ED25519], min_length=1, max_length=2
    )
    selector: str = Field(default="", max_length=63, description="Empty: a name is made.")
    private_key: str = Field(
        default="", max_length=20_000, description="PEM; empty: keys are made. Never shown again."
    )


class DkimKey(BaseModel):
    """One key, without its private half."""

    selector: str
    algorithm: str
    state: str = Field(description="new, signing, retiring (leave it in DNS), retired.")
    name: str = Field(description="Where the record is published.")
    record: str = Field(description="The TXT record.")
    created_at: float
    changed_at: float
    seen_at: float | None = Field(description="Since when DNS has the record; null: not seen yet.")


@router.get("/{name}/dkim", response_model=list[DkimKey])
async def list_keys(database: DatabaseOf, who: Read, name: Name) -> Any:
    """The keys of a domain, oldest first."""
    return await dkim.list_keys(database, who, name)


@router.post("/{name}/dkim", status_code=201, response_model=list[DkimKey])
async def add_keys(platform: PlatformOf, who: Write, name: Name, new: NewDkimKeys) -> Any:
    """New keys: publish their records, and they take over once DNS shows them."""
    return await dkim.add_keys(
        platform.database,
        who,
        name,
        await platform.sealer(),
        algorithms=list(dict.fromkeys(new.algorithms)),
        selector=new.selector,
        private_key=new.private_key,
    )


@router.post("/{name}/dkim/{selector}/activate", response_model=list[DkimKey])
async def activate(database: DatabaseOf, who: Write, name: Name, selector: Name) -> Any:
    """Sign with a new key at once, without waiting until DNS shows it."""
    return await dkim.activate(database, who, name, selector)


@router.delete("/{name}/dkim/{selector}", status_code=204)
async def delete_key(database: DatabaseOf, who: Write, name: Name, selector: Name) -> None:
    """Remove a key at once, with its private half."""
    await dkim.delete_key(database, who, name, selector)
