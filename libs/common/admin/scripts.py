"""Sieve scripts of accounts, within the reach of who asks."""

from __future__ import annotations

import asyncio
from typing import Any

from libs.common.accounts.registry import AlreadyExists, NotFound, RegistryError
from libs.common.admin import audit
from libs.common.admin.accounts import account_of, may_change
from libs.common.admin.check import Check, accept
from libs.common.admin.principal import Principal
from libs.common.db import Database, Transaction
from libs.common.scripts import (
    ScriptError,
    StoredScript,
    activate,
    delete_script,
    get_script,
    list_scripts,
    put_script,
    rename_script,
)
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.script import compile_script


def _shown(script: StoredScript) -> dict[str, Any]:
    return {
        "name": script.name,
        "active": script.active,
        "fault": script.fault,
        "octets": script.octets,
        "changed_at": script.changed_at,
    }


def _whole(script: StoredScript) -> dict[str, Any]:
    return {**_shown(script), "content": script.content.decode("utf-8", "replace")}


def _refused(error: ScriptError) -> RegistryError:
    kinds = {"NONEXISTENT": NotFound, "ALREADYEXISTS": AlreadyExists}
    return kinds.get(error.code, RegistryError)("script", error.text)


async def list_of(database: Database, who: Principal, address: str) -> list[dict[str, Any]]:
    """The scripts of an account by name, without their content."""
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        return [_shown(script) for script in await list_scripts(transaction, row.id)]


async def get(database: Database, who: Principal, address: str, name: str) -> dict[str, Any]:
    """One script with its content."""
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        return await _find(transaction, row.id, name)


async def _find(transaction: Transaction, account_id: int, name: str) -> dict[str, Any]:
    try:
        return _whole(await get_script(transaction, account_id, name))
    except ScriptError as error:
        raise _refused(error) from error


async def put(
    database: Database,
    who: Principal,
    address: str,
    name: str,
    content: str,
    *,
    active: bool | None = None,
    check: Check = accept,
) -> dict[str, Any]:
    """Store a script, if it is valid; `active`: let it run, or not, from now on."""
    try:
        # A large script takes a while.
        await asyncio.to_thread(compile_script, content)
    except SieveError as error:
        raise RegistryError("content", str(error)) from None
    async with database.transaction() as transaction:
        row = await _changeable(transaction, who, address)
        before = {one.name: _shown(one) for one in await list_scripts(transaction, row.id)}
        check(await _find(transaction, row.id, name) if name in before else {})
        try:
            await put_script(transaction, row.id, name, content.encode())
        except ScriptError as error:
            raise _refused(error) from error
        if active is not None:
            await _set_active(transaction, row.id, name, active)
        await audit.note(
            transaction, who, "script.put", f"{row.address} {name}", tenant_id=row.tenant_id
        )
        return await _find(transaction, row.id, name)


async def change(
    database: Database,
    who: Principal,
    address: str,
    name: str,
    *,
    active: bool | None = None,
    new_name: str | None = None,
    check: Check = accept,
) -> dict[str, Any]:
    """Activate, deactivate or rename a script."""
    async with database.transaction() as transaction:
        row = await _changeable(transaction, who, address)
        check(await _find(transaction, row.id, name))
        subject, told = f"{row.address} {name}", {"active": active, "name": new_name}
        if active is not None:
            await _set_active(transaction, row.id, name, active)
        if new_name is not None and new_name != name:
            try:
                await rename_script(transaction, row.id, name, new_name)
            except ScriptError as error:
                raise _refused(error) from error
            name = new_name
        await audit.note(
            transaction, who, "script.change", subject, tenant_id=row.tenant_id, **told
        )
        return await _find(transaction, row.id, name)


async def remove(
    database: Database, who: Principal, address: str, name: str, check: Check = accept
) -> None:
    """Remove a script that is not active."""
    async with database.transaction() as transaction:
        row = await _changeable(transaction, who, address)
        check(await _find(transaction, row.id, name))
        try:
            await delete_script(transaction, row.id, name)
        except ScriptError as error:
            raise _refused(error) from error
        await audit.note(
            transaction, who, "script.delete", f"{row.address} {name}", tenant_id=row.tenant_id
        )


async def _changeable(transaction: Transaction, who: Principal, address: str) -> Any:
    """Whoever could redirect somebody's mail could take him over, so ranks count."""
    row = await account_of(transaction, who, address)
    may_change(who, row, {})
    return row


async def _set_active(transaction: Transaction, account_id: int, name: str, active: bool) -> None:
    script = await get_script(transaction, account_id, name)
    if script.active != active:
        await activate(transaction, account_id, name if active else "")
