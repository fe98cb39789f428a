"""The directory: what an address means here, and who may send as whom.

RCPT is answered from a cache, so that mail for known recipients is still accepted while the
database is away: an answer is fresh for five minutes, and a stale one is used only then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from libs.common.accounts.account import (
    Account,
    RecipientKind,
    Targets,
    canonical,
    split_address,
)
from libs.common.accounts.screening import Mode, parse_choices
from libs.common.accounts.shared_secret import shared_secret
from libs.common.accounts.srs import Srs, looks_like_srs, origin_of
from libs.common.db import Database, DatabaseUnavailable, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import account, alias, domain, send_as, tenant

FRESH_SECONDS = 300.0
UNKNOWN_FRESH_SECONDS = 2.0
"""An account that was just created must not stay unknown for long."""
LIMITS_FRESH_SECONDS = 10.0
"""What a tenant may send is looked up again after this time."""
CACHE_ENTRIES = 100_000
MAX_ALIAS_DEPTH = 8
"""Aliases of aliases are followed this far; a circle ends here."""
REQUIRED_LOCAL_PARTS = ("postmaster", "abuse")
"""Always accepted (RFC 5321 §4.5.1, RFC 2142), also by an account that is full or suspended.

Without an account or alias of that name they go to the oldest account of the domain (of those that
are not suspended, if there is one), else to the catch-all, else to the oldest account of the
tenant."""

ACCOUNT_COLUMNS = (
    account.c.id,
    account.c.tenant_id,
    account.c.address,
    account.c.enabled,
    account.c.quota_octets,
    account.c.used_octets,
    account.c.quota_messages,
    account.c.used_messages,
)
"""What an `Account` is made of, in its order."""


class DirectoryUnavailable(Exception):
    """The database is away, and the cache has no answer."""


class Directory:
    """Looks up addresses and checks logins."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, tuple[float, RecipientKind]] = {}
        self._tenants: dict[str, tuple[float, int]] = {}
        self._screening: dict[str, tuple[float, Mapping[str, Mode]]] = {}
        self._secret = b""
        self._sending: dict[int, tuple[float, tuple[int, int]]] = {}

    async def recipient(self, address: str) -> RecipientKind:
        """What RCPT should answer for an address; raises `DirectoryUnavailable`."""
        known = self._cache.get(address)
        if known and known[0] > time.monotonic():
            return known[1]
        try:
            kind = await self._look_up(address)
        except DatabaseUnavailable as error:
            # "Unknown" is never answered from a stale cache: it would be a permanent refusal.
            if known and known[1] is not RecipientKind.UNKNOWN:
                return known[1]
            raise DirectoryUnavailable(str(error)) from error
        if len(self._cache) >= CACHE_ENTRIES:
            self._cache.clear()
        settled = kind in (RecipientKind.LOCAL, RecipientKind.REMOTE)
        fresh = FRESH_SECONDS if settled else UNKNOWN_FRESH_SECONDS
        self._cache[address] = (time.monotonic() + fresh, kind)
        return kind

    async def _look_up(self, address: str) -> RecipientKind:
        origins = await self._origins([address])
        async with self._database.reading() as transaction:
            if not await _our_domains(transaction, [address]):
                return RecipientKind.REMOTE
            row = await transaction.one_or_none(
                select(*ACCOUNT_COLUMNS).where(account.c.address == canonical(address))
            )
            if row is None:
                resolved = (await _resolve(transaction, [address], origins))[address]
                return RecipientKind.UNKNOWN if resolved.unknown else RecipientKind.LOCAL
        found = _account(row)
        if is_required(address):
            return RecipientKind.LOCAL
        if not found.enabled:
            return RecipientKind.DISABLED
        return RecipientKind.OVER_QUOTA if found.over_quota else RecipientKind.LOCAL

    async def home(self, hostname: str) -> str:
        """The domain that `<Postmaster>` means: that of the host, else our first.

        RFC 5321 §4.5.1.
        """
        parent = hostname.partition(".")[2]
        ours = domain.c.name.in_((hostname, parent))
        query = select(domain.c.name).where(domain.c.enabled).order_by(ours.desc(), domain.c.id)
        try:
            async with self._database.reading() as transaction:
                return await transaction.scalar(query.limit(1)) or parent
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error

    async def tenant(self, name: str) -> int:
        """Whose domain `name` is; raises `DirectoryUnavailable`, also for one that is not ours."""
        known = self._tenants.get(name)
        if known and known[0] > time.monotonic():
            return known[1]
        try:
            async with self._database.reading() as transaction:
                row = await transaction.one_or_none(
                    select(domain.c.tenant_id).where(domain.c.name == name)
                )
        except DatabaseUnavailable as error:
            if known:
                return known[1]
            raise DirectoryUnavailable(str(error)) from error
        if row is None:
            raise DirectoryUnavailable(f"{name} is not our domain any more")
        if len(self._tenants) >= CACHE_ENTRIES:
            self._tenants.clear()
        self._tenants[name] = (time.monotonic() + FRESH_SECONDS, row.tenant_id)
        return int(row.tenant_id)

    async def screening(self, name: str) -> Mapping[str, Mode]:
        """What a domain chose of the checks of strangers; nothing while that cannot be read."""
        known = self._screening.get(name)
        if known and known[0] > time.monotonic():
            return known[1]
        query = select(domain.c.screening).where(domain.c.name == name)
        try:
            async with self._database.reading() as transaction:
                found = parse_choices(await transaction.scalar(query) or "")
        except DatabaseUnavailable:
            return known[1] if known else {}
        if len(self._screening) >= CACHE_ENTRIES:
            self._screening.clear()
        self._screening[name] = (time.monotonic() + LIMITS_FRESH_SECONDS, found)
        return found

    async def targets(self, addresses: Sequence[str]) -> dict[str, Targets]:
        """What each address stands for; a few queries for all; raises `DatabaseUnavailable`."""
        origins = await self._origins(addresses)
        async with self._database.reading() as transaction:
            return await _resolve(transaction, addresses, origins)

    async def srs(self, domains: Iterable[str]) -> Srs:
        """How to rewrite reverse-paths in these domains; raises `DatabaseUnavailable`."""
        async with self._database.reading() as transaction:
            ours = await _our_domains(transaction, [f"@{name}" for name in domains])
        return Srs(await self._srs_secret(), frozenset(ours))

    async def _srs_secret(self) -> bytes:
        self._secret = self._secret or await shared_secret(self._database, "srs")
        return self._secret

    async def _origins(self, addresses: Iterable[str]) -> dict[str, str]:
        """Addresses that we made for the bounces of forwards, and whom they stand for."""
        wanted = [address for address in addresses if looks_like_srs(address)]
        if not wanted:
            return {}
        secret, now = await self._srs_secret(), time.time()
        found = {address: origin_of(secret, address, now) for address in wanted}
        return {address: origin for address, origin in found.items() if origin}

    async def sending_limits(self, tenant_id: int) -> tuple[int, int]:
        """(messages in an hour, recipients in a day) that a tenant may send; 0: no limit."""
        known = self._sending.get(tenant_id)
        if known and known[0] > time.monotonic():
            return known[1]
        query = select(tenant.c.messages_per_hour, tenant.c.recipients_per_day)
        try:
            async with self._database.reading() as transaction:
                row = await transaction.one_or_none(query.where(tenant.c.id == tenant_id))
        except DatabaseUnavailable as error:
            if known:
                return known[1]
            raise DirectoryUnavailable(str(error)) from error
        found = (row.messages_per_hour, row.recipients_per_day) if row else (0, 0)
        self._sending[tenant_id] = (time.monotonic() + LIMITS_FRESH_SECONDS, found)
        return found

    async def may_send_as(self, sender: Account, address: str) -> bool:
        """Is it the account's own address, an alias that leads to it, or granted to it?"""
        if canonical(address) == canonical(sender.address):
            return True
        forms = {address.lower(), canonical(address), f"*@{split_address(address.lower())[1]}"}
        grants = select(send_as.c.address).where(
            send_as.c.account_id == sender.id, send_as.c.address.in_(sorted(forms))
        )
        try:
            async with self._database.reading() as transaction:
                found = (await _resolve(transaction, [address], {}))[address]
                if any(target == sender.id for target, _ in found.accounts):
                    return True
                return bool(await transaction.rows(grants.limit(1)))
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error


def _account(row: Row[Any]) -> Account:
    values: tuple[Any, ...] = tuple(row)
    return Account(*values)


async def _our_domains(
    transaction: Transaction, addresses: Iterable[str]
) -> dict[str, tuple[int, str]]:
    """name -> (domain id, catch-all address) of those domains that are ours."""
    names = {split_address(address)[1].lower() for address in addresses}
    rows = await transaction.rows(
        select(domain.c.name, domain.c.id, domain.c.catch_all).where(
            in_list(domain.c.name, names, transaction.dialect), domain.c.enabled
        )
    )
    return {name: (number, catch_all) for name, number, catch_all in rows}


async def _resolve(
    transaction: Transaction, addresses: Sequence[str], origins: dict[str, str]
) -> dict[str, Targets]:
    """Follow aliases, one round of queries for each level, until only accounts are left."""
    accounts: dict[str, dict[int, str]] = {address: {} for address in addresses}
    scripts: dict[int, str] = {}
    remote: dict[str, dict[str, None]] = {address: {} for address in addresses}
    seen: dict[str, set[str]] = {address: set() for address in addresses}
    open_: dict[str, set[str]] = {address: {origins.get(address, address)} for address in addresses}
    for _ in range(MAX_ALIAS_DEPTH):
        wanted = {item for items in open_.values() for item in items}
        if not wanted:
            break
        step = await _one_level(transaction, wanted, scripts)
        following: dict[str, set[str]] = {address: set() for address in addresses}
        for address, items in open_.items():
            seen[address] |= items
            for item in items:
                found, aliases, outside = step[item]
                accounts[address].update(found)
                if outside:
                    remote[address][item] = None
                following[address] |= aliases - seen[address]
        open_ = following
    return {
        address: Targets(
            tuple(accounts[address].items()),
            tuple(remote[address]),
            not accounts[address] and not remote[address],
            tuple((i, scripts[i]) for i in accounts[address] if i in scripts) if scripts else (),
        )
        for address in addresses
    }


async def _one_level(
    transaction: Transaction, wanted: set[str], scripts: dict[int, str]
) -> dict[str, tuple[dict[int, str], set[str], bool]]:
    """For each address: its accounts, what its aliases name, and whether it is remote.

    Accounts with an active script are noted in `scripts`.
    """
    ours = await _our_domains(transaction, wanted)
    names = {canonical(item) for item in wanted} | {item.lower() for item in wanted}
    rows = await transaction.rows(
        select(account.c.address, account.c.id, account.c.scripts).where(
            in_list(account.c.address, names, transaction.dialect)
        )
    )
    found = {row.address: row.id for row in rows}
    scripts.update((row.id, row.scripts) for row in rows if row.scripts)
    aliases: dict[str, set[str]] = {}
    for source, target in await transaction.rows(
        select(alias.c.address, alias.c.target).where(
            in_list(alias.c.address, names, transaction.dialect)
        )
    ):
        aliases.setdefault(source, set()).add(target)
    return {
        item: await _meaning(transaction, item, ours, found, aliases, scripts) for item in wanted
    }


async def _meaning(
    transaction: Transaction,
    item: str,
    ours: dict[str, tuple[int, str]],
    found: dict[str, int],
    aliases: dict[str, set[str]],
    scripts: dict[int, str],
) -> tuple[dict[int, str], set[str], bool]:
    name = split_address(item.lower())[1]
    if name not in ours:
        return {}, set(), True
    number, catch_all = ours[name]
    for form in (item.lower(), canonical(item)):
        if form in aliases or form in found:
            here = {found[form]: form} if form in found else {}
            return here, aliases.get(form, set()), False
    if is_required(item):
        row = await _oldest_account(transaction, number)
        if row is not None and (row.domain_id == number or not catch_all):
            if row.scripts:
                scripts[row.id] = row.scripts
            return {row.id: row.address}, set(), False
    return {}, {catch_all} if catch_all else set(), False


async def _oldest_account(transaction: Transaction, number: int) -> Any:
    """Of the tenant; one of this domain before the others, one that may log in before them."""
    tenant_id = select(domain.c.tenant_id).where(domain.c.id == number).scalar_subquery()
    here = account.c.domain_id == number
    return await transaction.one_or_none(
        select(account.c.id, account.c.address, account.c.scripts, account.c.domain_id)
        .where(account.c.tenant_id == tenant_id)
        .order_by(here.desc(), account.c.enabled.desc(), account.c.id)
        .limit(1)
    )


def is_required(address: str) -> bool:
    """Is it one that every domain has?"""
    return split_address(canonical(address))[0] in REQUIRED_LOCAL_PARTS
