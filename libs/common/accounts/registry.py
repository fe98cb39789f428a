"""Creating and changing tenants, domains, accounts and aliases; used by `api` and the CLI."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from libs.common.accounts.account import canonical, split_address
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, alias, domain, mailbox, tenant

_DOMAIN = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_LOCAL_PART = re.compile(r"[^\s@<>\"(),:;\[\]\\\x00-\x1f]{1,64}")

SPECIAL_MAILBOXES = (
    ("INBOX", ""),
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
)
"""What a new account is given (RFC 6154)."""


class RegistryError(Exception):
    """Bad input: `field` and the rule that it breaks, in words."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class NotFound(RegistryError):
    """What the input names does not exist."""


class AlreadyExists(RegistryError):
    """What the input names exists already."""


def check_domain(name: str) -> str:
    """A domain name in lower-case ASCII; `RegistryError` when it is none."""
    try:
        ascii_name = name.strip().rstrip(".").lower().encode("idna").decode()
    except UnicodeError:
        ascii_name = ""
    if not _DOMAIN.fullmatch(ascii_name):
        raise RegistryError("domain", f"{name!r} is not a domain name, like example.org")
    return ascii_name


def check_address(address: str, field: str = "address") -> str:
    """An address of ours in its canonical form; `RegistryError` when it cannot be one."""
    local_part, name = split_address(address.strip())
    if not _LOCAL_PART.fullmatch(local_part):
        raise RegistryError(field, f"{address!r} is not an address, like alice@example.org")
    if "+" in local_part:
        raise RegistryError(field, "a '+' divides off a subaddress, so it cannot be in an address")
    return f"{local_part.lower()}@{check_domain(name)}"


async def ensure_tenant(transaction: Transaction, name: str = "default") -> int:
    """The id of a tenant, which is created when it is not there."""
    await transaction.insert(tenant, [{"name": name, "created_at": time.time()}], ignore=True)
    return int(await transaction.scalar(select(tenant.c.id).where(tenant.c.name == name)))


async def create_domain(
    database: Database, name: str, *, tenant_name: str = "default", exists_ok: bool = False
) -> int:
    """The id of a new domain."""
    name = check_domain(name)
    async with database.transaction() as transaction:
        known = await transaction.scalar(select(domain.c.id).where(domain.c.name == name))
        if known is not None:
            if exists_ok:
                return int(known)
            raise AlreadyExists("domain", f"{name} exists already")
        number = await ensure_tenant(transaction, tenant_name)
        row = {"tenant_id": number, "name": name, "created_at": time.time()}
        await transaction.insert(domain, [row])
        return int(await transaction.scalar(select(domain.c.id).where(domain.c.name == name)))


async def domain_row(transaction: Transaction, name: str) -> Any:
    """The row of one of our domains; `NotFound` says how to create it."""
    row = await transaction.one_or_none(select(domain).where(domain.c.name == name))
    if row is None:
        raise NotFound("domain", f"{name} is not ours; create it first: holub domain create {name}")
    return row


async def create_accounts(
    database: Database, addresses: Sequence[str], password_hash: str, **values: Any
) -> list[int]:
    """Create accounts with one password and the usual mailboxes; all of them or none."""
    rows = [
        {"address": check_address(address), "password_hash": password_hash, **values}
        for address in addresses
    ]
    async with database.transaction() as transaction:
        return await add_accounts(transaction, rows)


async def add_accounts(transaction: Transaction, new: Sequence[Mapping[str, Any]]) -> list[int]:
    """Accounts with the usual mailboxes, in the caller's transaction; all with the same columns.

    Addresses are as `check_address` gives them.
    """
    names = {split_address(row["address"])[1] for row in new}
    domains = {name: await domain_row(transaction, name) for name in names}
    now = time.time()
    accounts = []
    for row in new:
        ours = domains[split_address(row["address"])[1]]
        owner = {"tenant_id": ours.tenant_id, "domain_id": ours.id}
        uidvalidity = int(now) + len(SPECIAL_MAILBOXES)
        accounts.append({**row, **owner, "next_uidvalidity": uidvalidity, "created_at": now})
    fresh = await transaction.insert_new(account, accounts, ("address",))
    if len(fresh) != len(accounts):
        known = {row["address"] for row in fresh}
        twice = next((r["address"] for r in new if r["address"] not in known), new[0]["address"])
        raise AlreadyExists("address", f"{twice} exists already")
    ids = await _ids(transaction, [row["address"] for row in new])
    await transaction.insert(mailbox, [m for i in ids for m in _mailboxes(i, now)])
    return ids


async def _ids(transaction: Transaction, addresses: Sequence[str]) -> list[int]:
    ids: dict[str, int] = {}
    for start in range(0, len(addresses), 500):
        part = addresses[start : start + 500]
        query = select(account.c.address, account.c.id).where(account.c.address.in_(part))
        ids.update({row.address: row.id for row in await transaction.rows(query)})
    return [ids[address] for address in addresses]


def _mailboxes(account_id: int, now: float) -> list[dict[str, Any]]:
    # UIDVALIDITY only has to ascend when a name comes again (RFC 9051 §2.3.1.1): seconds do.
    return [
        {
            "account_id": account_id,
            "name": name,
            "uidvalidity": int(now) + i,
            "special_use": special_use,
            "created_at": now,
        }
        for i, (name, special_use) in enumerate(SPECIAL_MAILBOXES)
    ]


async def create_alias(database: Database, address: str, targets: Sequence[str]) -> None:
    """Let an address of ours stand for others, which may be anywhere (RFC 5321 §3.9.1)."""
    address = check_address(address)
    if not targets:
        raise RegistryError("targets", "an alias needs at least one target address")
    for target in targets:
        if not all(split_address(target)):
            raise RegistryError("targets", f"{target!r} is not an address")
    async with database.transaction() as transaction:
        row = await domain_row(transaction, split_address(address)[1])
        await transaction.insert(
            alias,
            [
                {
                    "tenant_id": row.tenant_id,
                    "domain_id": row.id,
                    "address": address,
                    "target": f"{split_address(t)[0]}@{split_address(t)[1].lower()}",
                    "created_at": time.time(),
                }
                for t in targets
            ],
            ignore=True,
        )


async def delete_alias(database: Database, address: str) -> None:
    """Remove an alias with all of its targets."""
    async with database.transaction() as transaction:
        if not await transaction.execute(delete(alias).where(alias.c.address == address.lower())):
            raise NotFound("address", f"there is no alias {address}")


async def change_account(database: Database, address: str, **values: Any) -> None:
    """Change columns of an account: name, enabled, quotas, password_hash."""
    async with database.transaction() as transaction:
        statement = update(account).where(account.c.address == canonical(address)).values(**values)
        if not await transaction.execute(statement):
            raise NotFound("address", f"there is no account {address}")


async def delete_domain(database: Database, name: str) -> None:
    """Remove a domain that holds nothing any more."""
    async with database.transaction() as transaction:
        row = await domain_row(transaction, name.lower())
        try:
            await transaction.execute(delete(domain).where(domain.c.id == row.id))
        except IntegrityError as error:
            raise RegistryError(
                "domain", f"{name} still has accounts or aliases; delete these first"
            ) from error
