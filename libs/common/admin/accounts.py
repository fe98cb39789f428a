"""Accounts, within the reach of who asks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select, update

from libs.common.accounts.account import canonical, split_address
from libs.common.accounts.registry import NotFound, add_accounts, check_address
from libs.common.admin import audit, reach
from libs.common.admin.check import Check, accept
from libs.common.admin.page import page, plain
from libs.common.admin.principal import Principal, Role
from libs.common.db import Database, Transaction
from libs.common.db.schema import account, alias, domain, mailbox, session

_SHOWN = (
    account.c.address,
    account.c.name,
    account.c.enabled,
    account.c.role,
    account.c.quota_octets,
    account.c.quota_messages,
    account.c.used_octets,
    account.c.used_messages,
    account.c.created_at,
)


def _named(who: Principal, address: str) -> Any:
    return reach.accounts(who) & (account.c.address == canonical(address))


async def list_accounts(
    database: Database,
    who: Principal,
    *,
    search: str = "",
    domain_name: str = "",
    enabled: bool | None = None,
    cursor: str = "",
    limit: int = 100,
) -> tuple[list[dict[str, Any]], str | None]:
    """Accounts by address."""
    query = select(*_SHOWN).where(reach.accounts(who))
    if search:
        query = query.where(account.c.address.contains(search.lower(), autoescape=True))
    if domain_name:
        named = select(domain.c.id).where(domain.c.name == domain_name.lower())
        query = query.where(account.c.domain_id.in_(named))
    if enabled is not None:
        query = query.where(account.c.enabled.is_(enabled))
    async with database.reading() as transaction:
        return await page(transaction, query, [account.c.address], cursor, limit)


async def account_of(
    transaction: Transaction, who: Principal, address: str, field: str = "address"
) -> Any:
    """The row of an account within reach; `NotFound` for any other."""
    row = await transaction.one_or_none(select(account).where(_named(who, address)))
    if row is None:
        raise NotFound(field, f"there is no account {address}")
    return row


async def _one(transaction: Transaction, who: Principal, address: str) -> dict[str, Any]:
    row = await account_of(transaction, who, address)
    return {str(column.name): getattr(row, column.name) for column in _SHOWN}


async def get_account(database: Database, who: Principal, address: str) -> dict[str, Any]:
    """One account."""
    async with database.reading() as transaction:
        return await _one(transaction, who, address)


async def create_account(
    database: Database,
    who: Principal,
    address: str,
    password_hash: str,
    *,
    role: Role = Role.ACCOUNT,
    **values: Any,
) -> dict[str, Any]:
    """Create an account with the usual mailboxes."""
    address = check_address(address)
    who.must_outrank(role)
    name = split_address(address)[1]
    async with database.transaction() as transaction:
        query = select(domain.c.tenant_id).where(reach.domains(who), domain.c.name == name)
        tenant_id = await transaction.scalar(query)
        if tenant_id is None:
            raise NotFound("address", f"there is no domain {name}; create it first")
        row = {"address": address, "password_hash": password_hash, "role": role, **values}
        await add_accounts(transaction, [row])
        await audit.note(
            transaction, who, "account.create", address, tenant_id=tenant_id, role=role
        )
        return await _one(transaction, who, address)


async def change_account(
    database: Database, who: Principal, address: str, check: Check = accept, **values: Any
) -> dict[str, Any]:
    """Change columns: name, enabled, quotas, role, password_hash."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        check(await _one(transaction, who, address))
        may_change(who, row, values)
        if values:
            await transaction.execute(
                update(account).where(account.c.id == row.id).values(**values)
            )
            if "password_hash" in values or values.get("enabled") is False:
                # Whoever was logged in with what is no longer valid is logged out.
                await transaction.execute(delete(session).where(session.c.account_id == row.id))
            told = {k: "(changed)" if k == "password_hash" else v for k, v in values.items()}
            await audit.note(
                transaction, who, "account.change", row.address, tenant_id=row.tenant_id, **told
            )
        return await _one(transaction, who, address)


def may_change(who: Principal, row: Any, values: dict[str, Any]) -> None:
    """Nobody raises himself or takes over somebody who may do more."""
    if row.id != who.account_id:
        who.must_outrank(Role(row.role), "address")
    if "role" in values:
        who.must_outrank(Role(values["role"]))


async def delete_account(
    database: Database, who: Principal, address: str, check: Check = accept
) -> None:
    """Remove an account, its mailboxes, and the aliases that only led to it."""
    async with database.transaction() as transaction:
        row = await account_of(transaction, who, address)
        check(await _one(transaction, who, address))
        may_change(who, row, {})
        await transaction.execute(delete(alias).where(alias.c.target == row.address))
        await transaction.execute(delete(account).where(account.c.id == row.id))
        await audit.note(transaction, who, "account.delete", row.address, tenant_id=row.tenant_id)


async def list_mailboxes(database: Database, who: Principal, address: str) -> list[dict[str, Any]]:
    """The mailboxes of an account and what they hold."""
    query = select(
        mailbox.c.name,
        mailbox.c.special_use,
        mailbox.c.messages,
        mailbox.c.unseen,
        mailbox.c.octets,
        mailbox.c.subscribed,
    )
    async with database.reading() as transaction:
        row = await account_of(transaction, who, address)
        mine = query.where(mailbox.c.account_id == row.id).order_by(mailbox.c.name)
        return [plain(found) for found in await transaction.rows(mine)]
