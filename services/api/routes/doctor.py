"""/v1/domains/NAME/dns and /doctor: what to publish, and whether the world sees it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from libs.common.admin import dkim, domains
from libs.common.admin.doctor import examine, records_for
from libs.common.admin.doctor.records import as_endpoint, as_zone
from libs.common.admin.principal import Principal
from libs.common.dns import open_resolver
from services.api.access import Allow, DatabaseOf, PlatformOf
from services.api.model import Name
from services.api.site import site_of

router = APIRouter(prefix="/domains", tags=["doctor"])
Read = Annotated[Principal, Depends(Allow("doctor:read"))]


class Form(StrEnum):
    """How the records are written."""

    JSON = "json"
    ZONE = "zone"
    ENDPOINT = "endpoint"


class DnsRecord(BaseModel):
    """One record to publish."""

    name: str
    type: str
    value: str
    why: str


class DoctorFinding(BaseModel):
    """The result of one check."""

    check: str
    status: str
    found: str
    publish: str
    why: str


@router.get("/{name}/dns", response_model=list[DnsRecord])
async def list_records(database: DatabaseOf, who: Read, name: Name, form: Form = Form.JSON) -> Any:
    """What to publish: as JSON, as lines of a zone file, or as a DNSEndpoint (YAML)."""
    found = (await domains.get_domain(database, who, name))["name"]
    site = site_of()
    keys = await dkim.list_keys(database, who, found)
    records = records_for(found, site.mail_host, site.mta_sts_mode, keys)
    match form:
        case Form.ZONE:
            return Response(as_zone(records), media_type="text/dns")
        case Form.ENDPOINT:
            return Response(as_endpoint(found, records), media_type="application/yaml")
    return [asdict(record) for record in records]


@router.get("/{name}/doctor", response_model=list[DoctorFinding])
async def run_doctor(platform: PlatformOf, who: Read, name: Name) -> Any:
    """Look at the domain from outside; takes up to 20 seconds."""
    found = (await domains.get_domain(platform.database, who, name))["name"]
    keys = await dkim.list_keys(platform.database, who, found)
    resolver = open_resolver(platform.settings.dns_servers)
    try:
        return [asdict(item) for item in await examine(resolver, found, site_of(), keys)]
    finally:
        await resolver.close()
