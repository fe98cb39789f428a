"""Finding messages, and telling their way: one answer for the API, the CLI and the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import deferred, message, outcome, parked, quarantine, trace

MOST = 100
"""Messages in one answer, newest first."""


async def find_messages(database: Database, what: str) -> list[str]:
    """mail_ids that `what` names: a mail_id, a Message-ID (with or without <>), an address."""
    what = what.strip()
    async with database.reading() as transaction:
        if await transaction.scalar(
            select(trace.c.mail_id).where(trace.c.mail_id == what).limit(1)
        ):
            return [what]
        bracketed = what if what.startswith("<") else f"<{what}>"
        by_message_id = select(message.c.mail_id).where(message.c.message_id == bracketed)
        found = await _ids(transaction, by_message_id)
        if not found:
            found = await _by_address(transaction, what)
    return sorted(set(found), reverse=True)[:MOST]


async def _ids(transaction: Transaction, query: Any) -> list[str]:
    return [row.mail_id for row in await transaction.rows(query.limit(MOST))]


async def _by_address(transaction: Transaction, address: str) -> list[str]:
    address = address.strip("<>")
    forms = {address, address.lower()}
    as_recipient = (
        select(trace.c.mail_id)
        .where(trace.c.recipient != "", in_list(trace.c.recipient, forms, transaction.dialect))
        .order_by(trace.c.mail_id.desc())
    )
    as_sender = (
        select(message.c.mail_id)
        .where(in_list(message.c.reverse_path, forms, transaction.dialect))
        .order_by(message.c.mail_id.desc())
    )
    return await _ids(transaction, as_recipient) + await _ids(transaction, as_sender)


async def tell(database: Database, mail_id: str) -> dict[str, Any]:
    """Everything that is known of a message: facts, states of its recipients, its way."""
    async with database.reading() as transaction:
        facts = await transaction.one_or_none(
            select(
                message.c.mail_id,
                message.c.reverse_path,
                message.c.message_id,
                message.c.subject,
                message.c.size,
                message.c.received_at,
                message.c.verdict,
            ).where(message.c.mail_id == mail_id)
        )
        steps = await transaction.rows(
            select(trace).where(trace.c.mail_id == mail_id).order_by(trace.c.at, trace.c.id)
        )
        states = await _states(transaction, mail_id)
    return {
        "mail_id": mail_id,
        "message": dict(facts._mapping) if facts else None,
        "recipients": states,
        "steps": [_step(dict(row._mapping)) for row in steps],
    }


def _step(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("at", "stage", "what", "n", "recipient", "why", "took")}


async def _states(transaction: Transaction, mail_id: str) -> list[dict[str, Any]]:
    states: dict[int, dict[str, Any]] = {}
    for row in await transaction.rows(select(outcome).where(outcome.c.mail_id == mail_id)):
        states[row.n] = _state(row.n, row.recipient, row.state, row.detail)
    for row in await transaction.rows(select(deferred).where(deferred.c.mail_id == mail_id)):
        states.setdefault(row.n, _state(row.n, row.recipient, "deferred", row.last_reply))
    for row in await transaction.rows(select(quarantine).where(quarantine.c.mail_id == mail_id)):
        states.setdefault(row.n, _state(row.n, row.recipient, "quarantined", row.reason))
    held: Sequence[Any] = await transaction.rows(
        select(parked.c.queue, parked.c.reason).where(parked.c.mail_id == mail_id)
    )
    for row in held:
        states.setdefault(-1, _state(-1, "", "parked", f"{row.queue}: {row.reason}"))
    return [states[n] for n in sorted(states)]


def _state(n: int, recipient: str, state: str, detail: str) -> dict[str, Any]:
    return {"n": n, "recipient": recipient, "state": state, "detail": detail}
