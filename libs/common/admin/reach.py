"""Reach: the rows of each table that a principal sees, as conditions of its queries."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, or_, select, true

from libs.common.accounts.account import split_address
from libs.common.admin.principal import Principal, Role
from libs.common.db import Transaction
from libs.common.db.schema import (
    account,
    alias,
    api_key,
    block,
    deferred,
    domain,
    domain_part,
    mailbox,
)

Condition = ColumnElement[bool]
AUTH_ACCOUNT = "auth:account/"
"""How the keys of blocks begin that are about an account."""


def domains(who: Principal) -> Condition:
    """Domains: all, those of the tenant, or those named."""
    if who.everywhere:
        return true()
    mine = domain.c.tenant_id == who.tenant_id
    if who.role is Role.DOMAIN:
        return mine & domain.c.name.in_(sorted(who.domains))
    return mine if who.role in (Role.TENANT, Role.SUPPORT) else false()


def domain_ids(who: Principal) -> Select[Any]:
    """The ids of these domains."""
    return select(domain.c.id).where(domains(who))


def accounts(who: Principal) -> Condition:
    """Accounts in these domains, or just one's own."""
    if who.everywhere:
        return true()
    if who.role is Role.ACCOUNT:
        return account.c.id == who.account_id
    return (account.c.tenant_id == who.tenant_id) & account.c.domain_id.in_(domain_ids(who))


def aliases(who: Principal) -> Condition:
    """Aliases in these domains."""
    if who.everywhere:
        return true()
    return (alias.c.tenant_id == who.tenant_id) & alias.c.domain_id.in_(domain_ids(who))


def mailboxes(who: Principal) -> Condition:
    """Mailboxes of these accounts."""
    if who.everywhere:
        return true()
    return mailbox.c.account_id.in_(select(account.c.id).where(accounts(who)))


def keys(who: Principal) -> Condition:
    """Keys of the tenant, or of one's own account."""
    if who.everywhere:
        return true()
    mine = api_key.c.tenant_id == who.tenant_id
    return mine if who.role is Role.TENANT else mine & (api_key.c.account_id == who.account_id)


def blocks(who: Principal) -> Condition:
    """All, or those of accounts in these domains: addresses of clients are nobody's."""
    if who.everywhere:
        return true()
    ours = domain_part(block.c.key).in_(select(domain.c.name).where(domains(who)))
    within: Condition = block.c.key.startswith(AUTH_ACCOUNT) & ours
    return within


def waiting(who: Principal) -> Condition:
    """What waits to leave: the tenant's, or of senders in the domains named."""
    if who.everywhere:
        return true()
    mine = deferred.c.tenant_id == who.tenant_id
    if who.role is Role.DOMAIN:
        theirs: Condition = domain_part(deferred.c.reverse_path).in_(sorted(who.domains))
        return mine & theirs
    return mine if who.role in (Role.TENANT, Role.SUPPORT) else false()


async def recipients(transaction: Transaction, who: Principal, column: Any) -> Condition:
    """A column with recipient addresses: those in these domains, or those of one's own account.

    Mail from outside belongs to the tenants of its recipients, so their domains decide.
    """
    if who.everywhere:
        return true()
    if who.role is not Role.ACCOUNT:
        ours = select(domain.c.name).where(domains(who))
        within: Condition = domain_part(column).in_(ours)
        return within
    query = select(alias.c.address).where(alias.c.target == who.address)
    rows = await transaction.rows(query.where(alias.c.tenant_id == who.tenant_id))
    return or_(*(_same(column, item) for item in (who.address, *(row.address for row in rows))))


def _same(column: Any, address: str) -> Condition:
    """The address itself, in any case, or with a subaddress."""
    local_part, name = split_address(address)
    lower = func.lower(column)
    sub = lower.startswith(f"{local_part}+", autoescape=True) & (domain_part(lower) == name)
    same: Condition = or_(lower == address, sub)
    return same
