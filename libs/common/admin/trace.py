"""The trace as principals may see it: search by what people remember, one page at a time.

A mail_id begins with its time, so mail_ids in descending order are the newest first, every
index that is used ends with the mail_id, and a cursor is simply the last mail_id seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Select, collate, exists, select

from libs.common.accounts.registry import NotFound, RegistryError
from libs.common.admin.page import decode_cursor, encode_cursor, plain
from libs.common.admin.principal import Principal
from libs.common.admin.view import View, view_of
from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import (
    deferred,
    message,
    outcome,
    parked,
    quarantine,
    subject_key,
    trace,
)
from libs.common.trace.search import tell

STATES = (
    "delivered",
    "relayed",
    "forwarded",
    "deferred",
    "parked",
    "quarantined",
    "bounced",
    "discarded",
    "refused",
)
_SUBJECT = 80
_ROUNDS = 5
"""A page looks at so many batches of candidates at most; the cursor goes on from there."""
_BATCH = 200
_BACK = 200
"""Rows by which a follower looks back."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty fields do not count, all others must match."""

    mail_id: str = ""
    message_id: str = ""
    address: str = ""
    """Sender or recipient."""
    sender: str = ""
    recipient: str = ""
    subject: str = ""
    """Its beginning, in any case."""
    state: str = ""
    since: float = 0.0
    until: float = 0.0

    def __post_init__(self) -> None:
        if self.state and self.state not in STATES:
            raise RegistryError("state", f"is one of {', '.join(STATES)}")

    @property
    def empty(self) -> bool:
        """Everything is wanted."""
        return not any(getattr(self, field.name) for field in fields(self))


def guess(what: str) -> Wanted:
    """A mail_id, a Message-ID (with its <>), an address, or else the beginning of a subject."""
    what = what.strip()
    try:
        return Wanted(mail_id=str(uuid.UUID(what)))
    except ValueError:
        pass
    if what.startswith("<") and what.endswith(">"):
        return Wanted(message_id=what)
    return Wanted(address=what) if "@" in what and " " not in what else Wanted(subject=what)


def mail_id_at(seconds: float) -> str:
    """The lowest mail_id of a time (RFC 9562 §5.7)."""
    milliseconds = max(0, min(int(seconds * 1000), (1 << 48) - 1))
    return str(uuid.UUID(int=milliseconds << 80))


def _span(column: Any, wanted: Wanted, below: str) -> list[ColumnElement[bool]]:
    """The conditions of time and cursor on a mail_id."""
    span = [column >= mail_id_at(wanted.since)] if wanted.since else []
    if wanted.until:
        span.append(column < mail_id_at(wanted.until))
    return [*span, column < below] if below else span


def _subject(text: str, dialect: str) -> ColumnElement[bool]:
    key: Any = subject_key(message.c.subject)
    key = collate(key, "C") if dialect == "postgresql" else key
    low = text.lower()[:_SUBJECT]
    begins: ColumnElement[bool] = (key >= low) & (key < low + "\U0010ffff")
    return begins


def _drivers(wanted: Wanted, dialect: str) -> list[tuple[Any, list[ColumnElement[bool]]]]:
    """(mail_id column, conditions) of each search that narrows most, best first."""
    found: list[tuple[Any, list[ColumnElement[bool]]]] = []
    if wanted.mail_id:
        found.append((trace.c.mail_id, [trace.c.mail_id == wanted.mail_id]))
    if wanted.message_id:
        text = wanted.message_id
        text = text if text.startswith("<") else f"<{text}>"
        found.append((message.c.mail_id, [message.c.message_id == text]))
    if wanted.recipient:
        found.append((trace.c.mail_id, _to(wanted.recipient, dialect)))
    if wanted.sender:
        found.append((message.c.mail_id, [_from(wanted.sender, dialect)]))
    if wanted.subject:
        found.append((message.c.mail_id, [_subject(wanted.subject, dialect)]))
    if wanted.state:
        found.append(_in_state(wanted.state))
    return found or [(message.c.mail_id, [])]


def _forms(address: str) -> set[str]:
    address = address.strip().strip("<>")
    local_part, _, name = address.rpartition("@")
    return {address, f"{local_part}@{name.lower()}", address.lower()}


def _to(address: str, dialect: str) -> list[ColumnElement[bool]]:
    # Said twice because the index has only rows with a recipient.
    return [trace.c.recipient != "", in_list(trace.c.recipient, _forms(address), dialect)]


def _from(address: str, dialect: str) -> ColumnElement[bool]:
    return in_list(message.c.reverse_path, _forms(address), dialect)


def _in_state(state: str) -> tuple[Any, list[ColumnElement[bool]]]:
    match state:
        case "deferred":
            return deferred.c.mail_id, []
        case "parked":
            return parked.c.mail_id, [parked.c.mail_id != ""]
        case "quarantined":
            return quarantine.c.mail_id, [quarantine.c.state == "held"]
    return outcome.c.mail_id, [outcome.c.state == state]


def _query(
    driver: tuple[Any, list[ColumnElement[bool]]],
    others: Sequence[tuple[Any, list[ColumnElement[bool]]]],
    wanted: Wanted,
    below: str,
) -> Select[Any]:
    """mail_ids of the driver, newest first, for which each other condition holds too."""
    column, conditions = driver
    query = select(column.label("mail_id")).where(*conditions, *_span(column, wanted, below))
    for other, also in others:
        same = other.table.alias()
        renamed = [_on(condition, other.table, same) for condition in also]
        query = query.where(exists().where(same.c.mail_id == column, *renamed))
    return query.distinct().order_by(column.desc()).limit(_BATCH)


def _on(condition: Any, table: Any, alias: Any) -> Any:
    from sqlalchemy.sql.util import ClauseAdapter

    return ClauseAdapter(alias).traverse(condition)


async def _candidates(transaction: Transaction, wanted: Wanted, below: str) -> list[str]:
    drivers = _drivers(wanted, transaction.dialect)
    if not wanted.address:
        query = _query(drivers[0], drivers[1:], wanted, below)
        return [row.mail_id for row in await transaction.rows(query)]
    # An address stands on either side; two index searches are quicker than one OR.
    others = [] if drivers == [(message.c.mail_id, [])] else drivers
    sides: list[tuple[Any, list[ColumnElement[bool]]]] = [
        (trace.c.mail_id, _to(wanted.address, transaction.dialect)),
        (message.c.mail_id, [_from(wanted.address, transaction.dialect)]),
    ]
    found: set[str] = set()
    for side in sides:
        query = _query(side, others, wanted, below)
        found.update(row.mail_id for row in await transaction.rows(query))
    return sorted(found, reverse=True)[:_BATCH]


async def search(
    database: Database, who: Principal, wanted: Wanted, *, cursor: str = "", limit: int = 20
) -> tuple[list[dict[str, Any]], str | None]:
    """Summaries, newest first.  A page may be short and still have a cursor: go on with it."""
    below = decode_cursor(cursor, (str,))[0] if cursor else ""
    found: list[dict[str, Any]] = []
    async with database.reading() as transaction:
        view = await view_of(transaction, who)
        for _ in range(_ROUNDS):
            ids = await _candidates(transaction, wanted, below)
            for start in range(0, len(ids), limit):
                part = ids[start : start + limit]
                for item in await summaries(transaction, view, part):
                    found.append(item)
                    if len(found) == limit:
                        more = item["mail_id"] != ids[-1] or len(ids) == _BATCH
                        return found, encode_cursor([item["mail_id"]]) if more else None
            if len(ids) < _BATCH:
                return found, None
            below = ids[-1]
    return found, encode_cursor([below])


async def summaries(
    transaction: Transaction, view: View, ids: Sequence[str]
) -> list[dict[str, Any]]:
    """One line for each message that the view shows, in the order of `ids`."""
    if not ids:
        return []
    rows = await transaction.rows(
        select(
            message.c.mail_id,
            message.c.reverse_path,
            message.c.subject,
            message.c.message_id,
            message.c.size,
            message.c.verdict,
        ).where(in_list(message.c.mail_id, ids, transaction.dialect))
    )
    facts = {row.mail_id: plain(row) for row in rows}
    steps: dict[str, list[dict[str, Any]]] = {}
    query = select(trace).where(in_list(trace.c.mail_id, ids, transaction.dialect))
    for row in await transaction.rows(query.order_by(trace.c.at, trace.c.id)):
        steps.setdefault(row.mail_id, []).append(plain(row))
    shown = [view.message(mail_id, facts.get(mail_id), steps.get(mail_id, [])) for mail_id in ids]
    return [item for item in shown if item is not None]


async def story(database: Database, who: Principal, mail_id: str) -> dict[str, Any]:
    """Everything that the principal may know of one message, with the explanation in words."""
    from libs.common.admin.explain import explain

    told = await tell(database, mail_id)
    async with database.reading() as transaction:
        view = await view_of(transaction, who)
    seen = view.story(told)
    if seen is None:
        raise NotFound("mail_id", f"nothing is known of {mail_id}")
    return {**seen, "explanation": explain(seen)}


class Follower:
    """New steps, as they are written, as far as the principal may see them.

    Rows of transactions that commit late have lower numbers than some that were seen already,
    so each look goes back a little.
    """

    def __init__(self, database: Database, who: Principal) -> None:
        self._database = database
        self._who = who
        self._newest: int | None = None
        self._seen: set[int] = set()

    async def look(self, limit: int = 500) -> list[dict[str, Any]]:
        """What came since the last look; the first one gives nothing."""
        async with self._database.reading() as transaction:
            if self._newest is None:
                query = select(trace.c.id).order_by(trace.c.id.desc()).limit(_BACK)
                self._seen = {row.id for row in await transaction.rows(query)}
                self._newest = max(self._seen, default=0)
                return []
            wanted = select(trace).where(trace.c.id > self._newest - _BACK)
            found = await transaction.rows(wanted.order_by(trace.c.id).limit(limit + _BACK))
            rows = [plain(row) for row in found if row.id not in self._seen]
            view = await view_of(transaction, self._who)
        self._seen = {row.id for row in found}
        self._newest = max(self._seen, default=self._newest)
        return [row for row in rows if view.step(row)]
