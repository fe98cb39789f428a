"""The rows of `sieve_script`: putting, activating, renaming, removing.

Each change writes a new word into `account.scripts` while a script is active.  Delivery reads that
word with the account and so knows, without another query, whether there is a script to run and
whether the one that it has compiled is still the right one.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, func, select, update

from libs.common.db import Transaction
from libs.common.db.schema import account, sieve_script

MAX_SCRIPTS = 32
"""In one account."""
MAX_OCTETS = 256 * 1024
"""Of one script, as its compiler takes it (libs.protocols.sieve.lexer)."""
MAX_NAME = 128
"""Characters of a name; RFC 5804 §1.6 asks for 128 at least."""


class ScriptError(Exception):
    """Why not, as the response code of RFC 5804 §1.3 and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class StoredScript:
    """One script of an account; `content` is empty in lists."""

    name: str
    active: bool
    fault: str
    """Why it broke off first, since it was put; empty: it never did."""
    octets: int
    changed_at: float
    content: bytes = b""


_SHOWN = (
    sieve_script.c.name,
    sieve_script.c.active,
    sieve_script.c.fault,
    func.length(sieve_script.c.content),
    sieve_script.c.changed_at,
)


def check_name(name: str) -> str:
    """The name as it is; `ScriptError` when it cannot be one (RFC 5804 §1.6)."""
    wrong = any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in name)
    if not name or len(name) > MAX_NAME or wrong:
        text = f"a script's name has 1 to {MAX_NAME} characters and no control characters"
        raise ScriptError("", text)
    return name


async def list_scripts(transaction: Transaction, account_id: int) -> list[StoredScript]:
    """All scripts of an account by name, without their content."""
    mine = sieve_script.c.account_id == account_id
    rows = await transaction.rows(select(*_SHOWN).where(mine).order_by(sieve_script.c.name))
    return [StoredScript(*row) for row in rows]


async def get_script(transaction: Transaction, account_id: int, name: str) -> StoredScript:
    """One script; NONEXISTENT otherwise."""
    query = select(*_SHOWN, sieve_script.c.content).where(_named(account_id, name))
    row = await transaction.one_or_none(query)
    if row is None:
        raise ScriptError("NONEXISTENT", f"there is no script {name!r}")
    *values, content = row
    return replace(StoredScript(*values), content=bytes(content))


async def check_room(transaction: Transaction, account_id: int, name: str, octets: int) -> None:
    """QUOTA/MAXSIZE or QUOTA/MAXSCRIPTS when a script of this size would not be taken."""
    if octets > MAX_OCTETS:
        raise ScriptError("QUOTA/MAXSIZE", f"a script has at most {MAX_OCTETS} octets")
    known = {script.name for script in await list_scripts(transaction, account_id)}
    if name not in known and len(known) >= MAX_SCRIPTS:
        raise ScriptError("QUOTA/MAXSCRIPTS", f"an account has at most {MAX_SCRIPTS} scripts")


async def put_script(
    transaction: Transaction, account_id: int, name: str, content: bytes
) -> StoredScript:
    """Store a script that the caller has compiled; one with this name is replaced."""
    check_name(name)
    await _lock(transaction, account_id)
    await check_room(transaction, account_id, name, len(content))
    now = time.time()
    values: dict[str, Any] = {"content": content, "fault": "", "changed_at": now}
    if not await transaction.execute(
        update(sieve_script).where(_named(account_id, name)).values(**values)
    ):
        row = {"account_id": account_id, "name": name, "created_at": now, **values}
        await transaction.insert(sieve_script, [row])
    await _changed(transaction, account_id)
    return await get_script(transaction, account_id, name)


async def activate(transaction: Transaction, account_id: int, name: str) -> None:
    """Let this script run on new mail, and no other; with an empty name: none."""
    await _lock(transaction, account_id)
    mine = sieve_script.c.account_id == account_id
    await transaction.execute(
        update(sieve_script).where(mine, sieve_script.c.active).values(active=False)
    )
    if name and not await transaction.execute(
        update(sieve_script).where(_named(account_id, name)).values(active=True)
    ):
        raise ScriptError("NONEXISTENT", f"there is no script {name!r}")
    await _changed(transaction, account_id)


async def delete_script(transaction: Transaction, account_id: int, name: str) -> None:
    """Remove a script; ACTIVE when it is the one that runs (RFC 5804 §2.10)."""
    await _lock(transaction, account_id)
    if (await get_script(transaction, account_id, name)).active:
        raise ScriptError("ACTIVE", f"the script {name!r} is active; deactivate it first")
    await transaction.execute(delete(sieve_script).where(_named(account_id, name)))
    await _changed(transaction, account_id)


async def rename_script(transaction: Transaction, account_id: int, old: str, new: str) -> None:
    """Give a script another name; it stays active (RFC 5804 §2.11.1)."""
    check_name(new)
    await _lock(transaction, account_id)
    known = {script.name for script in await list_scripts(transaction, account_id)}
    if old not in known:
        raise ScriptError("NONEXISTENT", f"there is no script {old!r}")
    if new in known:
        raise ScriptError("ALREADYEXISTS", f"there is a script {new!r} already")
    await transaction.execute(update(sieve_script).where(_named(account_id, old)).values(name=new))
    await _changed(transaction, account_id)


async def _lock(transaction: Transaction, account_id: int) -> None:
    """Two clients of one account change its scripts one after the other."""
    if transaction.dialect == "postgresql":
        query = select(account.c.id).where(account.c.id == account_id)
        await transaction.rows(query.with_for_update(key_share=True))


def _named(account_id: int, name: str) -> Any:
    return (sieve_script.c.account_id == account_id) & (sieve_script.c.name == name)


async def _changed(transaction: Transaction, account_id: int) -> None:
    active = select(sieve_script.c.id).where(
        sieve_script.c.account_id == account_id, sieve_script.c.active
    )
    word = secrets.token_hex(8) if await transaction.scalar(active) is not None else ""
    await transaction.execute(
        update(account).where(account.c.id == account_id).values(scripts=word)
    )
