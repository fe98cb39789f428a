"""DKIM keys of a domain: what to publish, in which state they are, new ones.

Private keys go in and never come out.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from libs.common.accounts import dkim_keys
from libs.common.accounts.dkim_keys import ALGORITHMS, NewKey
from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.admin import audit, reach
from libs.common.admin.page import plain
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.db.schema import dkim_key, domain
from libs.common.runtime.sealer import Sealer

_SELECTOR = re.compile(r"(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SHOWN = (
    dkim_key.c.selector,
    dkim_key.c.algorithm,
    dkim_key.c.state,
    dkim_key.c.record,
    dkim_key.c.created_at,
    dkim_key.c.changed_at,
    dkim_key.c.seen_at,
)


async def _domain(transaction: Transaction, who: Principal, name: str) -> Any:
    query = select(domain.c.id, domain.c.name, domain.c.tenant_id).where(reach.domains(who))
    row = await transaction.one_or_none(query.where(domain.c.name == name.lower()))
    if row is None:
        raise NotFound("domain", f"there is no domain {name}")
    return row


async def list_keys(database: Database, who: Principal, name: str) -> list[dict[str, Any]]:
    """The keys of a domain, oldest first, with the record that each one needs."""
    async with database.reading() as transaction:
        found = await _domain(transaction, who, name)
        query = select(*_SHOWN).where(dkim_key.c.domain_id == found.id).order_by(dkim_key.c.id)
        rows = [plain(row) for row in await transaction.rows(query)]
    return [_named(row, found.name) for row in rows]


def _named(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {**row, "name": f"{row['selector']}._domainkey.{name}"}


async def make_keys(name: str, algorithms: Sequence[str], selector: str = "") -> list[NewKey]:
    """New keys, made in a thread; a selector is for one algorithm only."""
    if selector and len(algorithms) != 1:
        raise RegistryError("selector", "names one key, so give one algorithm with it")
    now = time.time()
    named = [(item, selector or dkim_keys.selector_for(item, now)) for item in algorithms]
    return [await asyncio.to_thread(dkim_keys.make_key, name, kind, at) for kind, at in named]


async def add_keys(
    database: Database,
    who: Principal,
    name: str,
    sealer: Sealer,
    *,
    algorithms: Sequence[str] = ALGORITHMS,
    selector: str = "",
    private_key: str = "",
) -> list[dict[str, Any]]:
    """New keys for a domain, to be published: they take over once DNS shows them."""
    if selector and not _SELECTOR.fullmatch(selector):
        raise RegistryError("selector", "letters, digits and hyphens in lower case, at most 63")
    async with database.reading() as transaction:
        name = (await _domain(transaction, who, name)).name
    keys = (
        [_brought(name, private_key, selector)]
        if private_key
        else await make_keys(name, algorithms, selector)
    )
    async with database.transaction() as transaction:
        found = await _domain(transaction, who, name)
        if await dkim_keys.add_keys(transaction, found.id, name, keys, sealer) < len(keys):
            raise AlreadyExists("selector", f"{name} has or had a key of this name: {selector}")
        names = [key.selector for key in keys]
        detail = {"selectors": names, "tenant_id": found.tenant_id}
        await audit.note(transaction, who, "dkim.create", name, **detail)
    return [row for row in await list_keys(database, who, name) if row["selector"] in names]


def _brought(name: str, pem: str, selector: str) -> NewKey:
    if not selector:
        raise RegistryError("selector", "say under which selector the key is in DNS")
    try:
        return dkim_keys.read_key(name, pem.encode(), selector)
    except (ValueError, TypeError) as error:
        # The parser's words could hold a part of the key; ours do not.
        known = str(error) if "RSA key of" in str(error) else "give a PEM file, RSA or ed25519"
        raise RegistryError("private_key", known) from None


async def _key(transaction: Transaction, who: Principal, name: str, selector: str) -> Any:
    found = await _domain(transaction, who, name)
    query = select(dkim_key).where(dkim_key.c.domain_id == found.id)
    row = await transaction.one_or_none(query.where(dkim_key.c.selector == selector))
    if row is None:
        raise NotFound("selector", f"there is no key {selector} of {found.name}")
    return plain(row) | {"domain": found.name, "tenant_id": found.tenant_id}


async def activate(
    database: Database, who: Principal, name: str, selector: str
) -> list[dict[str, Any]]:
    """Sign with a key at once, whether or not we see it in DNS."""
    async with database.transaction() as transaction:
        row = await _key(transaction, who, name, selector)
        if row["state"] != "new":
            raise RegistryError("selector", f"{selector} is {row['state']}, not new")
        await dkim_keys.start_signing(transaction, row)
        detail = {"selector": selector, "tenant_id": row["tenant_id"]}
        await audit.note(transaction, who, "dkim.activate", row["domain"], **detail)
    return await list_keys(database, who, name)


async def delete_key(database: Database, who: Principal, name: str, selector: str) -> None:
    """Remove a key; what it would have signed goes unsigned, unless there is another one."""
    async with database.transaction() as transaction:
        row = await _key(transaction, who, name, selector)
        await transaction.execute(delete(dkim_key).where(dkim_key.c.id == row["id"]))
        detail = {"selector": selector, "state": row["state"], "tenant_id": row["tenant_id"]}
        await audit.note(transaction, who, "dkim.delete", row["domain"], **detail)
