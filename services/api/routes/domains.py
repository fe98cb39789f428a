"""/v1/domains: the domains that are ours."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, field_validator

from libs.common.accounts.screening import parse_choices
from libs.common.admin import domains
from libs.common.admin.principal import Principal
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.conditional import Precondition, tagged
from services.api.idempotency import Idempotent
from services.api.model import Cursor, Limit, Name, Page, Search, Strict, paged

router = APIRouter(prefix="/domains", tags=["domains"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("domains:read"))]
Write = Annotated[Principal, Depends(Allow("domains:write"))]


class NewDomain(Strict):
    """A domain to take mail for."""

    name: str = Field(examples=["example.org"], min_length=1, max_length=253)
    tenant: str = Field(default="", max_length=63, description="Empty: one's own, or `default`.")
    catch_all: str = Field(default="", max_length=320, description="Takes what nobody else does.")


class DomainChange(Strict):
    """What is given is changed, the rest stays."""

    enabled: bool | None = None
    catch_all: str | None = Field(default=None, max_length=320)
    screening: str | None = Field(
        default=None,
        max_length=500,
        examples=["dnsbl=note,greylist=refuse"],
        description="What checks of strangers mean here: `rule=off`, `note` or `refuse`.",
    )

    @field_validator("screening")
    @classmethod
    def _choices(cls, value: str | None) -> str | None:
        return value and ",".join(f"{rule}={mode}" for rule, mode in parse_choices(value).items())


class Domain(BaseModel):
    """A domain of ours."""

    name: str
    tenant: str
    enabled: bool
    catch_all: str
    created_at: float
    screening: str


@router.get("", response_model=Page[Domain])
async def list_domains(
    database: DatabaseOf,
    who: Read,
    search: Search = "",
    tenant: Annotated[str, Query(max_length=63)] = "",
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Any:
    """Domains by name."""
    return paged(
        await domains.list_domains(
            database, who, search=search, tenant_name=tenant, cursor=cursor, limit=limit
        )
    )


@router.post("", status_code=201, response_model=Domain)
async def create_domain(platform: PlatformOf, who: Write, new: NewDomain) -> Any:
    """Take mail for a domain, and make its DKIM keys."""
    return await domains.create_domain(
        platform.database,
        who,
        new.name,
        tenant_name=new.tenant,
        catch_all=new.catch_all,
        sealer=await platform.sealer(),
    )


@router.get("/{name}", response_model=Domain)
async def get_domain(
    database: DatabaseOf, who: Read, name: Name, request: Request, response: Response
) -> Any:
    """One domain."""
    return tagged(request, response, await domains.get_domain(database, who, name))


@router.patch("/{name}", response_model=Domain)
async def change_domain(
    database: DatabaseOf,
    who: Write,
    name: Name,
    change: DomainChange,
    check: Precondition,
    request: Request,
    response: Response,
) -> Any:
    """Change whether it is enabled, its catch-all, or what it wants of the checks of strangers."""
    values = change.model_dump(exclude_none=True)
    found = await domains.change_domain(database, who, name, check, **values)
    return tagged(request, response, found)


@router.delete("/{name}", status_code=204)
async def delete_domain(database: DatabaseOf, who: Write, name: Name, check: Precondition) -> None:
    """Take no mail for it any more; it must be empty."""
    await domains.delete_domain(database, who, name, check)
