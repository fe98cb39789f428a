"""App passwords of accounts, within the reach of who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libs.common.accounts import app_password
from libs.common.admin import audit
from libs.common.admin.accounts import account_of, may_change
from libs.common.admin.principal import Principal
from libs.common.db import Database


async def list_app_passwords(
    database: Database, who: Principal, address: str
) -> list[dict[str, Any]]:
    """Those of an account by name; the secrets are kept nowhere."""
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        return await app_password.of_account(transaction, row.id)


async def create_app_password(
    database: Database,
    who: Principal,
    address: str,
    name: str,
    scopes: Sequence[str] = app_password.SCOPES,
    *,
    expires_at: float | None = None,
) -> dict[str, Any]:
    """A new one, its secret under `secret`; it cannot be shown again."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        may_change(who, row, {})
        made = await app_password.add(transaction, row.id, name, scopes, expires_at=expires_at)
        told = {"name": name, "scopes": made["scopes"], "tenant_id": row.tenant_id}
        await audit.note(transaction, who, "app_password.create", row.address, **told)
        return made


async def revoke_app_password(database: Database, who: Principal, address: str, name: str) -> None:
    """The device cannot log in any more."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        may_change(who, row, {})
        await app_password.remove(transaction, row.id, name)
        told = {"name": name, "tenant_id": row.tenant_id}
        await audit.note(transaction, who, "app_password.revoke", row.address, **told)
