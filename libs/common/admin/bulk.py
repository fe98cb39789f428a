"""Bulk import: every line is checked before the first is written, then chunks with progress."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import select

from libs.common.accounts.account import split_address
from libs.common.accounts.credential import hash_password, is_known_hash
from libs.common.accounts.registry import RegistryError, add_accounts, check_address
from libs.common.admin import audit, reach
from libs.common.admin.aliases import check_targets
from libs.common.admin.principal import Principal, Role
from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import account, alias, domain

CHUNK = 1000
MOST_ERRORS = 100
_MOST = 2**62
ACCOUNT_FIELDS = (
    "address",
    "password",
    "password_hash",
    "name",
    "role",
    "quota_octets",
    "quota_messages",
)
ALIAS_FIELDS = ("address", "targets")
Row = dict[str, Any]


@dataclass
class Progress:
    """How far an import is; `errors` are those of lines, named by number and field."""

    total: int = 0
    done: int = 0
    created: int = 0
    skipped: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)

    def wrong(self, number: int, error: RegistryError) -> None:
        """Note what is wrong with a line."""
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"field": f"line {number}: {error.field}", "rule": error.rule})


def read_rows(content: bytes, media_type: str) -> Iterator[tuple[int, Row]]:
    """(line number, fields) of CSV with a line of names, or of JSON lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RegistryError("body", f"is not UTF-8 at octet {error.start}") from error
    if "\0" in text:
        raise RegistryError("body", "has a NUL character, which cannot be stored")
    if media_type == "text/csv":
        yield from _csv(text)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, _json(number, line)


def _csv(text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="(more)")
    try:
        for row in reader:
            yield reader.line_num, {k: v for k, v in row.items() if v not in (None, "")}
    except csv.Error as error:
        raise RegistryError(f"line {reader.line_num}", str(error)) from error


def _json(number: int, line: str) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RegistryError(f"line {number}", f"is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RegistryError(f"line {number}", "is not an object")
    return row


def _known(row: Row, fields: Sequence[str]) -> None:
    for name in row:
        if name not in fields:
            raise RegistryError(str(name), f"is no field; there are {', '.join(fields)}")


def _text(row: Row, name: str, most: int) -> str:
    value = row.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise RegistryError(name, f"is a text of at most {most} characters")
    return value


def _number(row: Row, name: str) -> int:
    value = row.get(name, 0)
    if isinstance(value, bool) or not str(value).isascii() or not str(value).isdecimal():
        raise RegistryError(name, "is a whole number from 0")
    if int(value) > _MOST:
        raise RegistryError(name, f"is at most {_MOST}")
    return int(value)


def check_account(who: Principal, row: Row) -> Row:
    """One account as it will be stored, its password not yet hashed."""
    _known(row, ACCOUNT_FIELDS)
    password, hashed = _text(row, "password", 1000), _text(row, "password_hash", 500)
    if bool(password) == bool(hashed):
        raise RegistryError("password", "give either password or password_hash")
    if hashed and not is_known_hash(hashed):
        rule = "must be argon2id, crypt, bcrypt, SSHA or PBKDF2, bare or as {SCHEME}HASH"
        raise RegistryError("password_hash", rule)
    if password and len(password) < 8:
        raise RegistryError("password", "needs at least 8 characters")
    role = _text(row, "role", 20) or Role.ACCOUNT
    if role not in list(Role):
        raise RegistryError("role", f"is one of {', '.join(Role)}")
    who.must_outrank(Role(role))
    return {
        "address": check_address(_text(row, "address", 320)),
        "name": _text(row, "name", 200),
        "role": role,
        "quota_octets": _number(row, "quota_octets"),
        "quota_messages": _number(row, "quota_messages"),
        "password": password,
        "password_hash": hashed,
    }


def check_alias(who: Principal, row: Row) -> Row:
    """One alias; `targets` is a list, or a text with spaces between."""
    _known(row, ALIAS_FIELDS)
    targets = row.get("targets", [])
    targets = targets.split() if isinstance(targets, str) else targets
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
        raise RegistryError("targets", "is a list of addresses")
    return {
        "address": check_address(_text(row, "address", 320)),
        "targets": check_targets(targets),
    }


async def run_import(
    database: Database,
    who: Principal,
    kind: str,
    rows: Iterator[tuple[int, Row]],
    *,
    dry_run: bool = False,
    skip_existing: bool = False,
) -> AsyncIterator[Progress]:
    """Progress after each chunk; with errors nothing was written at all.

    What is there already is an error, or left as it is when `skip_existing` is set.
    """
    progress = Progress()
    checked = await asyncio.to_thread(_check_all, who, kind, rows, progress)
    progress.total = len(checked)
    yield progress
    fresh = await _new_ones(database, who, kind, checked, progress, skip_existing)
    if progress.errors:
        yield progress
        return
    for start in range(0, len(fresh), CHUNK):
        part = [row for _, row in fresh[start : start + CHUNK]]
        if not dry_run:
            await _write(database, who, kind, part)
        progress.created += len(part)
        progress.done = progress.skipped + progress.created
        yield progress
    progress.done = progress.total
    yield progress


def _check_all(
    who: Principal, kind: str, rows: Iterator[tuple[int, Row]], progress: Progress
) -> list[tuple[int, Row]]:
    check: Callable[[Principal, Row], Row] = check_account if kind == "accounts" else check_alias
    found, seen = [], set()
    try:
        for number, row in rows:
            try:
                item = check(who, row)
                if item["address"] in seen:
                    raise RegistryError("address", f"{item['address']} is in this file twice")
                seen.add(item["address"])
                found.append((number, item))
            except RegistryError as error:
                progress.wrong(number, error)
    except RegistryError as error:
        # The file itself cannot be read any further.
        progress.errors.append({"field": error.field, "rule": error.rule})
    return found


async def _new_ones(
    database: Database,
    who: Principal,
    kind: str,
    rows: Sequence[tuple[int, Row]],
    progress: Progress,
    skip: bool,
) -> list[tuple[int, Row]]:
    """Those in domains within reach that are not there yet; the others are errors or skipped."""
    table = account if kind == "accounts" else alias
    names = {split_address(row["address"])[1] for _, row in rows}
    addresses = [row["address"] for _, row in rows]
    async with database.reading() as transaction:
        ours = select(domain.c.name).where(
            reach.domains(who), in_list(domain.c.name, names, transaction.dialect)
        )
        reachable = {row.name for row in await transaction.rows(ours)}
        there = select(table.c.address).where(
            in_list(table.c.address, addresses, transaction.dialect)
        )
        known = {row.address for row in await transaction.rows(there)}
    fresh = []
    for number, row in rows:
        address = row["address"]
        name = split_address(address)[1]
        if name not in reachable:
            wrong = RegistryError("address", f"there is no domain {name}; create it first")
            progress.wrong(number, wrong)
        elif address not in known:
            fresh.append((number, row))
        elif skip:
            progress.skipped += 1
        else:
            progress.wrong(number, RegistryError("address", f"{address} exists already"))
    return fresh


async def _write(database: Database, who: Principal, kind: str, part: list[Row]) -> None:
    """One chunk in one transaction."""
    if kind == "accounts":
        part = await asyncio.to_thread(_hashed, part)
    async with database.transaction() as transaction:
        if kind == "accounts":
            await add_accounts(transaction, part)
        else:
            await _add_aliases(transaction, part)
        told = {"count": len(part), "first": part[0]["address"], "last": part[-1]["address"]}
        await audit.note(transaction, who, f"import.{kind}", part[0]["address"], **told)


def _hashed(part: Sequence[Row]) -> list[Row]:
    """Columns of the account, every password with a salt of its own."""
    rows = []
    for row in part:
        columns = {name: value for name, value in row.items() if name != "password"}
        columns["password_hash"] = columns["password_hash"] or hash_password(row["password"])
        rows.append(columns)
    return rows


async def _add_aliases(transaction: Transaction, part: Sequence[Row]) -> None:
    names = {split_address(row["address"])[1] for row in part}
    query = select(domain.c.name, domain.c.id, domain.c.tenant_id).where(
        in_list(domain.c.name, names, transaction.dialect)
    )
    domains = {row.name: row for row in await transaction.rows(query)}
    now = time.time()
    await transaction.insert(
        alias,
        [
            {
                "tenant_id": domains[split_address(row["address"])[1]].tenant_id,
                "domain_id": domains[split_address(row["address"])[1]].id,
                "address": row["address"],
                "target": target,
                "created_at": now,
            }
            for row in part
            for target in row["targets"]
        ],
        ignore=True,
    )
