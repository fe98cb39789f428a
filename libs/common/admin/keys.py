"""Keys of the management API: shown once, kept as a hash, narrowed by role, scope and network."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from typing import Any

from sqlalchemy import or_, select, update

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin import audit, reach
from libs.common.admin.accounts import account_of
from libs.common.admin.page import page, plain
from libs.common.admin.principal import PERMISSIONS, Forbidden, Principal, Role
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, api_key, domain, tenant

_USED_SECONDS = 60.0
_SHOWN = (
    api_key.c.id,
    api_key.c.name,
    api_key.c.role,
    api_key.c.scopes,
    api_key.c.domains,
    api_key.c.networks,
    api_key.c.created_by,
    api_key.c.created_at,
    api_key.c.last_used_at,
    api_key.c.expires_at,
    api_key.c.revoked_at,
    tenant.c.name.label("tenant"),
    account.c.address.label("account"),
)


def digest(secret: str) -> str:
    """What is kept.  The secret has 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret(kind: str) -> str:
    """`holub_KIND_...`: the prefix lets scanners of leaked secrets know it."""
    return f"holub_{kind}_{secrets.token_urlsafe(32)}"


async def create_key(
    database: Database,
    who: Principal,
    name: str,
    *,
    role: Role = Role.PLATFORM,
    tenant_name: str = "",
    domains: tuple[str, ...] = (),
    address: str = "",
    scopes: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
    expires_at: float | None = None,
) -> dict[str, Any]:
    """A new key with its secret under `key`; store it well, it cannot be shown again."""
    _check(who, role, scopes, expires_at)
    secret = new_secret("key")
    async with database.transaction() as transaction:
        tenant_id, account_id = await _owner(transaction, who, role, tenant_name, domains, address)
        row = {
            "tenant_id": tenant_id,
            "account_id": account_id,
            "name": name,
            "key_hash": digest(secret),
            "role": role,
            "scopes": " ".join(scopes),
            "domains": " ".join(domains),
            "networks": " ".join(_network(item) for item in networks),
            "created_by": who.actor,
            "created_at": time.time(),
            "expires_at": expires_at,
        }
        await transaction.insert(api_key, [row])
        number = await transaction.scalar(
            select(api_key.c.id).where(api_key.c.key_hash == row["key_hash"])
        )
        told = {"role": role, "scopes": row["scopes"], "domains": row["domains"], "name": name}
        await audit.note(
            transaction, who, "key.create", f"key:{number}", tenant_id=tenant_id, **told
        )
        shown = await _one(transaction, who, int(number))
    return {**shown, "key": secret}


def _check(who: Principal, role: Role, scopes: tuple[str, ...], expires: float | None) -> None:
    who.must_outrank(role)
    known = {f"{name.split(':')[0]}:*" for name in PERMISSIONS[role]} | PERMISSIONS[role]
    if unknown := [item for item in scopes if item not in known]:
        allowed = ", ".join(sorted(known))
        raise RegistryError("scopes", f"{unknown[0]!r} is no scope of {role}; there are {allowed}")
    made = Principal("", role, scopes=frozenset(scopes)).permissions
    if beyond := sorted(made - who.permissions):
        raise Forbidden("scopes", f"you do not have {beyond[0]} yourself; narrow the scopes")
    if expires is not None and expires <= time.time():
        raise RegistryError("expires_at", "must be in the future")
    if who.expires_at is not None and (expires is None or expires > who.expires_at):
        raise Forbidden("expires_at", "may not outlive the key that makes it")


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise RegistryError("networks", f"{text!r} is not an address or network (CIDR)") from error


async def _owner(
    transaction: Transaction,
    who: Principal,
    role: Role,
    tenant_name: str,
    domains: tuple[str, ...],
    address: str,
) -> tuple[int | None, int | None]:
    """(tenant, account) of the new key, all of them within the reach of `who`."""
    if role is Role.ACCOUNT or address:
        if role is not Role.ACCOUNT or not address:
            raise RegistryError("account", "is given for the role account, and only for it")
        row = await account_of(transaction, who, address, field="account")
        return int(row.tenant_id), int(row.id)
    tenant_id = await _tenant(transaction, who, tenant_name)
    if tenant_id is None and role not in (Role.PLATFORM, Role.SUPPORT):
        raise RegistryError("tenant", f"a {role} needs a tenant")
    if tenant_id is not None and role is Role.PLATFORM:
        raise RegistryError("tenant", "a platform-admin has no tenant; make a tenant-admin")
    if bool(domains) != (role is Role.DOMAIN):
        raise RegistryError("domains", "are given for the role domain-admin, and only for it")
    for name in domains:
        query = select(domain.c.id).where(reach.domains(who), domain.c.name == name)
        if await transaction.scalar(query.where(domain.c.tenant_id == tenant_id)) is None:
            raise NotFound("domains", f"there is no domain {name} in this tenant")
    return tenant_id, None


async def _tenant(transaction: Transaction, who: Principal, name: str) -> int | None:
    if who.tenant_id is not None:
        query = select(tenant.c.id).where(tenant.c.id == who.tenant_id)
        if name and await transaction.scalar(query.where(tenant.c.name == name)) is None:
            raise NotFound("tenant", f"there is no tenant {name}")
        return who.tenant_id
    if not name:
        return None
    number = await transaction.scalar(select(tenant.c.id).where(tenant.c.name == name))
    if number is None:
        raise NotFound("tenant", f"there is no tenant {name}")
    return int(number)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("scopes", "domains", "networks"):
        row[name] = row[name].split()
    return row


def _query() -> Any:
    owners = api_key.outerjoin(tenant, tenant.c.id == api_key.c.tenant_id)
    owners = owners.outerjoin(account, account.c.id == api_key.c.account_id)
    return select(*_SHOWN).select_from(owners)


async def _one(transaction: Transaction, who: Principal, number: int) -> dict[str, Any]:
    query = _query().where(api_key.c.id == number, reach.keys(who))
    row = await transaction.one_or_none(query)
    if row is None:
        raise NotFound("id", f"there is no key {number}")
    return _shown(plain(row))


async def get_key(database: Database, who: Principal, number: int) -> dict[str, Any]:
    """One key, without its secret."""
    async with database.reading() as transaction:
        return await _one(transaction, who, number)


async def list_keys(
    database: Database, who: Principal, *, cursor: str = "", limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """Keys by id, revoked ones too."""
    async with database.reading() as transaction:
        rows, after = await page(
            transaction, _query().where(reach.keys(who)), [api_key.c.id], cursor, limit
        )
    return [_shown(row) for row in rows], after


async def revoke_key(database: Database, who: Principal, number: int) -> None:
    """From now on it is refused; the row stays for the audit."""
    async with database.transaction() as transaction:
        row = await _one(transaction, who, number)
        who.must_outrank(Role(row["role"]))
        statement = update(api_key).where(api_key.c.id == number, api_key.c.revoked_at.is_(None))
        if await transaction.execute(statement.values(revoked_at=time.time())):
            await audit.note(transaction, who, "key.revoke", f"key:{number}", name=row["name"])


async def principal_of_key(database: Database, secret: str, client: str) -> Principal | None:
    """Who a key stands for; None when it is unknown, expired, revoked, or used from elsewhere."""
    now = time.time()
    query = (
        select(api_key, account.c.address, account.c.enabled)
        .outerjoin(account, account.c.id == api_key.c.account_id)
        .where(
            api_key.c.key_hash == digest(secret),
            api_key.c.revoked_at.is_(None),
            or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now),
        )
    )
    async with database.reading() as transaction:
        row = await transaction.one_or_none(query)
    if row is None or row.enabled is False or not _from(client, row.networks):
        return None
    if now - (row.last_used_at or 0.0) > _USED_SECONDS:
        await _note_use(database, row.id, now)
    return Principal(
        f"key:{row.name}",
        Role(row.role),
        row.tenant_id,
        frozenset(row.domains.split()),
        row.account_id,
        row.address or "",
        frozenset(row.scopes.split()),
        client,
        row.expires_at,
    )


def _from(client: str, networks: str) -> bool:
    if not networks:
        return True
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in ipaddress.ip_network(item) for item in networks.split())


async def _note_use(database: Database, number: int, now: float) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(
            update(api_key).where(api_key.c.id == number).values(last_used_at=now)
        )
