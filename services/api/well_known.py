"""What strangers fetch by HTTP: the MTA-STS policy and the set-up of mail programs."""

from __future__ import annotations

from xml.sax.saxutils import escape

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from libs.common.accounts.registry import NotFound
from libs.common.admin.doctor.records import mta_sts_policy
from libs.common.db.schema import domain
from services.api.access import DatabaseOf
from services.api.site import site_of

router = APIRouter(include_in_schema=False)

_AUTOCONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="{domain}">
    <domain>{domain}</domain>
    <displayName>{domain}</displayName>
    <incomingServer type="imap">
      <hostname>{host}</hostname><port>993</port><socketType>SSL</socketType>
      <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>{host}</hostname><port>465</port><socketType>SSL</socketType>
      <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username>
    </outgoingServer>
  </emailProvider>
</clientConfig>
"""


async def _ours(database: DatabaseOf, request: Request, prefix: str) -> str:
    """The domain of the Host field behind `prefix`; 404 when it is not ours."""
    host = request.headers.get("host", "").rsplit(":", 1)[0].lower()
    name = host.removeprefix(prefix)
    query = select(domain.c.name).where(domain.c.name == name, domain.c.enabled)
    async with database.reading() as transaction:
        found = None if name == host else await transaction.scalar(query)
    if found is None:
        raise NotFound("Host", f"{prefix}DOMAIN of one of our domains is served here")
    return str(found)


@router.get("/.well-known/mta-sts.txt")
async def policy(database: DatabaseOf, request: Request) -> Response:
    """The MTA-STS policy of mta-sts.DOMAIN (RFC 8461 §3.2)."""
    await _ours(database, request, "mta-sts.")
    site = site_of()
    return Response(mta_sts_policy(site.mail_host, site.mta_sts_mode), media_type="text/plain")


@router.get("/mail/config-v1.1.xml")
async def autoconfig(database: DatabaseOf, request: Request) -> Response:
    """How a mail program reaches us (Thunderbird's autoconfig)."""
    name = await _ours(database, request, "autoconfig.")
    text = _AUTOCONFIG.format(domain=escape(name), host=escape(site_of().mail_host))
    return Response(text, media_type="application/xml")
