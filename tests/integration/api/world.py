"""Two tenants on one platform, alike but for their names, and a client for each of their keys."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import select, update

from libs.common.accounts.credential import hash_password
from libs.common.admin import (
    accounts,
    aliases,
    app_passwords,
    dkim,
    domains,
    grants,
    keys,
    rescan,
    scripts,
    suppressions,
    tenants,
)
from libs.common.admin.principal import Role, local_operator
from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobRef
from libs.common.db import Database
from libs.common.db.schema import (
    account,
    audit,
    block,
    deferred,
    idempotency,
    message,
    outcome,
    parked,
    quarantine,
    rescan_finding,
    tenant,
)
from libs.common.jobs import Envelope, Recipient, RecordHeader, RelayJob, encode, new_mail_id
from libs.common.jobs.record import encode_header
from libs.common.queue import open_queue
from libs.common.runtime.health import Health
from libs.common.runtime.sealer import Sealer
from libs.common.runtime.settings import PlatformSettings
from libs.common.trace import TraceRow, write_trace
from services.api.application import make_application
from services.platform import Platform

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
ROOT = local_operator("test")


@dataclass
class Side:
    """One tenant: everything that carries its name, and its keys by role."""

    name: str
    keys: dict[str, str] = field(default_factory=dict)
    key_ids: dict[str, int] = field(default_factory=dict)
    mail_id: str = ""
    queued: str = ""
    """A message to two others, which waits."""
    rescan: int = 0

    @property
    def domain(self) -> str:
        return f"{self.name}.test"

    @property
    def account(self) -> str:
        return f"anna@{self.domain}"

    @property
    def device(self) -> str:
        return f"telephone of {self.name}"

    @property
    def granted(self) -> str:
        return f"office@{self.domain}"

    @property
    def block(self) -> str:
        # Not of `account`, which logs in: whoever is blocked cannot, once the block is read.
        return f"auth:account/guessed@{self.domain}"

    @property
    def gone(self) -> str:
        return f"nobody-at-{self.name}@elsewhere.example"

    @property
    def alias(self) -> str:
        return f"sales@{self.domain}"


@dataclass
class World:
    """The application, its database, and both sides."""

    app: Any
    platform: Platform
    ours: Side
    theirs: Side
    root_key: str
    parked: int = 0

    def client(self, key: str = "", address: str = "192.0.2.1", **headers: str) -> Any:
        """An HTTP client with a key, from an address."""
        bearer = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, client=(address, 40000)),
            base_url="http://holub.test",
            headers={**bearer, **headers},
        )

    @property
    def root(self) -> Any:
        """The platform administrator's client."""
        return self.client(self.root_key)


@asynccontextmanager
async def open_world(database: Database, folder: Path) -> AsyncIterator[World]:
    """A world with the tenants `ours` and `theirs`."""
    blobs = open_blobstore(f"file:{folder}/blobs")
    queue = open_queue(f"sqlite:///{folder}/queue.db")
    platform = Platform(PlatformSettings(), database, queue, blobs, Health())
    root = await keys.create_key(database, ROOT, "root")
    sealer = await platform.sealer()
    made = [await _side(platform, name, sealer) for name in ("ours", "theirs")]
    world = World(make_application(platform), platform, *made, root["key"])
    world.parked = await _parked(database, made[1].mail_id)
    yield world
    await queue.close()
    await blobs.close()


async def _side(platform: Platform, name: str, sealer: Sealer) -> Side:
    side, database = Side(name), platform.database
    await tenants.create_tenant(database, ROOT, name)
    await domains.create_domain(database, ROOT, side.domain, tenant_name=name)
    kinds = ("ed25519-sha256",)
    await dkim.add_keys(database, ROOT, side.domain, sealer, algorithms=kinds, selector="s1")
    await accounts.create_account(database, ROOT, side.account, HASH)
    await accounts.create_account(database, ROOT, f"boss@{side.domain}", HASH, role=Role.TENANT)
    await aliases.put_alias(database, ROOT, side.alias, [side.account], add=True)
    await scripts.put(database, ROOT, side.account, "main", "keep;", active=True)
    await app_passwords.create_app_password(database, ROOT, side.account, side.device)
    await grants.add_grant(database, ROOT, side.account, side.granted)
    await suppressions.add_suppression(database, ROOT, side.gone, days=30, tenant_name=name)
    async with database.transaction() as transaction:
        now = time.time()
        row = {"key": side.block, "reason": name, "created_at": now, "until": now + 3600}
        await transaction.insert(block, [row])
    given: dict[str, dict[str, Any]] = {
        "tenant-admin": {"tenant_name": name},
        "domain-admin": {"tenant_name": name, "domains": (side.domain,)},
        "support": {"tenant_name": name},
        "account": {"address": side.account},
    }
    for role, values in given.items():
        key = await keys.create_key(database, ROOT, f"{name} {role}", role=Role(role), **values)
        side.keys[role], side.key_ids[role] = key["key"], key["id"]
    side.mail_id = await hold_mail(platform, side.account)
    side.queued = await _queued(database, side)
    side.rescan = (await rescan.begin_rescan(database, ROOT, 1.0, tenant_name=name))["id"]
    await _find(database, side)
    return side


async def _find(database: Database, side: Side) -> None:
    """What the re-scan moved."""
    where = {"rescan_id": side.rescan, "mail_id": side.mail_id, "at": time.time()}
    async with database.transaction() as transaction:
        query = select(account.c.id).where(account.c.address == side.account)
        owner = await transaction.scalar(query)
        found = {**where, "account_id": owner, "action": "junk", "reason": f"spam for {side.name}"}
        await transaction.insert(rescan_finding, [found])


async def hold_mail(platform: Platform, *recipients: str, reason: str = "spam") -> str:
    """A message in quarantine with its record, as filter leaves it."""
    mail_id = await add_mail(platform.database, *recipients, held=True)
    to = tuple(Recipient(n, address) for n, address in enumerate(recipients))
    envelope = Envelope("you@elsewhere.example", to)
    header = RecordHeader(mail_id, time.time(), envelope, listener="mx")
    content = b"From: you@elsewhere.example\r\nSubject: Hello\r\n\r\nText.\r\n"
    ref = await platform.blobs.put(encode_header(header), content, key=mail_id)
    place = {"segment": ref.segment, "record_offset": ref.offset, "record_length": ref.length}
    async with platform.database.transaction() as transaction:
        mine = message.c.mail_id == mail_id
        await transaction.execute(update(message).where(mine).values(size=len(content), **place))
        held = update(quarantine).where(quarantine.c.mail_id == mail_id)
        await transaction.execute(held.values(reason=f"{reason} for {recipients[0]}"))
    return mail_id


async def add_mail(
    database: Database,
    *recipients: str,
    sender: str = "you@elsewhere.example",
    subject: str = "Hello",
    state: str = "delivered",
    held: bool = False,
    login: str = "",
    mail_id: str = "",
) -> str:
    """A message from outside as filter, delivery and storage leave it."""
    mail_id, now = mail_id or new_mail_id(), time.time()
    to = ", ".join(f"<{item}>" for item in recipients)
    listener, by = ("submission", f" as {login}") if login else ("mx", "")
    why = (
        f"{listener}: from <{sender}> to {to}, 10 octets, by mx.elsewhere.example"
        f" [192.0.2.9]{by}, ESMTPS, TLSv1.3 TLS_AES_256_GCM_SHA384"
    )
    state = "quarantined" if held else state
    row = {
        "mail_id": mail_id,
        "tenant_id": 1,
        "origin": "smtp",
        "segment": "mail/2026/01/01/00/x",
        "record_offset": 0,
        "record_length": 10,
        "size": 10,
        "sha256": b"",
        "received_at": now,
        "reverse_path": sender,
        "recipients": len(recipients),
        "message_id": f"<{mail_id}@elsewhere.example>",
        "subject": subject,
        "envelope": b"",
        "bodystructure": b"",
        "body": b"",
        "parts": b"[]",
    }
    units = [
        {"mail_id": mail_id, "n": n, "recipient": r, "state": state, "detail": "", "at": now}
        for n, r in enumerate(recipients)
    ]
    entries = [
        {
            "mail_id": mail_id,
            "n": n,
            "tenant_id": 1,
            "recipient": r,
            "reason": f"virus for {r}",
            "created_at": now,
        }
        for n, r in enumerate(recipients)
    ]
    async with database.transaction() as transaction:
        await transaction.insert(message, [row])
        await transaction.insert(outcome, units)
        await transaction.insert(quarantine, entries if held else [])
        await write_trace(
            transaction,
            [
                TraceRow(mail_id, "ingress", "accepted", why=why),
                *(TraceRow(mail_id, "storage", state, n, r) for n, r in enumerate(recipients)),
            ],
        )
    return mail_id


async def _queued(database: Database, side: Side) -> str:
    mail_id, now = new_mail_id(), time.time()
    to = tuple(Recipient(n, f"x{n}@elsewhere.example") for n in range(2))
    async with database.transaction() as transaction:
        tenant_id = await transaction.scalar(select(tenant.c.id).where(tenant.c.name == side.name))
        envelope = Envelope(side.account, to)
        header = RecordHeader(mail_id, now, envelope, tenant=int(tenant_id))
        job = RelayJob(
            BlobRef("mail/2026/01/01/00/x", 0, 10), header, 10, "elsewhere.example", (0, 1)
        )
        rows = [
            {
                "mail_id": mail_id,
                "n": r.n,
                "recipient": r.address,
                "domain": job.domain,
                "received_at": now,
                "next_attempt_at": now + 3600,
                "job": encode(job),
                "tenant_id": tenant_id,
                "reverse_path": side.account,
            }
            for r in to
        ]
        await transaction.insert(deferred, rows)
    return mail_id


async def _parked(database: Database, mail_id: str) -> int:
    row = {
        "queue": "storage",
        "mail_id": mail_id,
        "body": b'{"type":"storage"}',
        "reason": "planted for theirs.test",
        "parked_at": time.time(),
    }
    async with database.transaction() as transaction:
        await transaction.insert(parked, [row])
        rows = await transaction.rows(parked.select())
    return int(rows[-1].id)


async def snapshot(database: Database, without: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Every row of every table but the audit and what keys note of their use."""
    found = {}
    async with database.reading() as transaction:
        for table in message.metadata.sorted_tables:
            if table in (audit, idempotency) or table.name in without:
                continue
            columns = [c for c in table.c if c.name != "last_used_at"]
            rows = await transaction.rows(table.select().with_only_columns(*columns))
            found[table.name] = sorted(map(repr, rows))
    return found
