"""/v1/accounts/ADDRESS/send-as: what an account may send as besides its own addresses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from libs.common.admin import grants
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf
from services.api.idempotency import Idempotent
from services.api.model import Name, Strict

router = APIRouter(prefix="/accounts", tags=["send-as grants"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("accounts:read"))]
Write = Annotated[Principal, Depends(Allow("accounts:write"))]


class NewGrant(Strict):
    """An address, or `*@DOMAIN` for all of a domain."""

    address: str = Field(
        examples=["sales@example.org", "*@example.org"], min_length=3, max_length=320
    )


class Grant(BaseModel):
    """What an account may send as."""

    address: str
    created_at: float


@router.get("/{address}/send-as", response_model=list[Grant])
async def list_grants(database: DatabaseOf, who: Read, address: Name) -> Any:
    """The grants of an account."""
    return await grants.list_grants(database, who, address)


@router.post("/{address}/send-as", status_code=201, response_model=Grant)
async def add_grant(database: DatabaseOf, who: Write, address: Name, new: NewGrant) -> Any:
    """Let an account send as an address, or as a whole domain, of its tenant."""
    return await grants.add_grant(database, who, address, new.address)


@router.delete("/{address}/send-as/{granted}", status_code=204)
async def remove_grant(database: DatabaseOf, who: Write, address: Name, granted: Name) -> None:
    """The account may not send as that any more."""
    await grants.remove_grant(database, who, address, granted)
