"""Old rows go when nothing needs them any more, and not before; on both dialects."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from libs.common.db import Database
from libs.common.db.schema import (
    deferred,
    delivery_log,
    effect,
    message,
    outbox,
    outcome,
    parked,
    plan,
    quarantine,
    trace,
)
from libs.common.queue import Queue, open_queue
from services.storage.retention import Ages, let_go
from services.storage.settings import StorageSettings

NOW = time.time()
DAY = 86400.0
OLD, YOUNG = NOW - 100 * DAY, NOW - 80 * DAY
AGES = Ages(trace_days=90, ledger_days=90)
LEDGER = (plan, delivery_log, effect)


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    opened = open_queue(f"sqlite:///{tmp_path}/queue.db")
    yield opened
    await opened.close()


def name(moment: float, number: int = 0) -> str:
    """A mail_id that was made at a time."""
    digits = f"{int(moment * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012x}"


def at(mail_id: str, moment: float = OLD) -> dict[str, Any]:
    return {"mail_id": mail_id, "n": 0, "recipient": "a@x.test", "at": moment}


async def put(database: Database, table: Table, **row: Any) -> None:
    async with database.transaction() as transaction:
        await transaction.insert(table, [row])


async def done(
    database: Database, mail_id: str, moment: float = OLD, *, ended: bool = True, child: str = ""
) -> None:
    """What is left of a message that was delivered to one recipient."""
    await put(database, plan, mail_id=mail_id, targets=b"[]", created_at=moment)
    await put(database, delivery_log, mail_id=mail_id, account_id=1, delivered_at=moment)
    await put(database, effect, mail_id=mail_id, n=0, kind="dsn", child=child, at=moment)
    await put(database, trace, mail_id=mail_id, at=moment, stage="storage", what="filed")
    if ended:
        await put(database, outcome, **at(mail_id, moment), state="delivered")


async def left(database: Database, table: Table) -> list[str]:
    async with database.reading() as transaction:
        rows = await transaction.rows(select(table.c.mail_id).order_by(table.c.mail_id))
    return [row.mail_id for row in rows]


async def test_what_is_old_and_at_its_end_goes_and_the_rest_stays(
    database: Database, queue: Queue
) -> None:
    for number in range(3):
        await done(database, name(OLD, number))
    await done(database, name(YOUNG), YOUNG)

    gone = await let_go(database, queue, AGES, NOW)

    assert gone == {"trace": 3, "plan": 3, "delivery_log": 3, "effect": 3}
    for table in (*LEDGER, trace):
        assert await left(database, table) == [name(YOUNG)]
    # The collector asks for it as long as there is the record.
    assert len(await left(database, outcome)) == 4
    assert await let_go(database, queue, AGES, NOW) == dict.fromkeys(gone, 0)


async def test_a_name_that_tells_no_time_neither_hastens_nor_saves(
    database: Database, queue: Queue
) -> None:
    """DSNs, redirects and answers are named by a hash, which may be anywhere among the others."""
    below, above = "0000{}00-5d1c-5f0e-852a-000000000000", "ffff{}00-5d1c-5f0e-852a-000000000000"
    young, old = ([below.format(n), above.format(n)] for n in ("01", "02"))
    for mail_id in young:
        await done(database, mail_id, YOUNG)
    for mail_id in old:
        await done(database, mail_id)

    gone = await let_go(database, queue, AGES, NOW)

    assert gone == {"trace": 2, "plan": 2, "delivery_log": 2, "effect": 2}
    for table in (*LEDGER, trace):
        assert await left(database, table) == young


async def test_the_plan_of_a_release_goes_with_its_message(
    database: Database, queue: Queue
) -> None:
    open_still, ended = f"{name(OLD, 1)} 0", f"{name(OLD, 2)} 0"
    for plan_id in (open_still, ended):
        await put(database, plan, mail_id=plan_id, targets=b"[]", created_at=OLD)
    await put(database, outcome, **at(name(OLD, 2)), state="delivered")

    gone = await let_go(database, queue, AGES, NOW)

    assert gone["plan"] == 1
    assert await left(database, plan) == [open_still]


async def test_more_than_a_page_goes_whatever_stays_among_it(
    database: Database, queue: Queue
) -> None:
    ids = [name(OLD, n) for n in range(2100)]
    for start in range(0, 2100, 100):
        rows = [
            {"mail_id": m, "targets": b"[]", "created_at": OLD + start} for m in ids[start:][:100]
        ]
        ends = [{**at(m), "state": "delivered"} for m in ids[start:][1:100]]
        steps = [{"mail_id": m, "at": OLD, "stage": "x", "what": "y"} for m in ids[start:][:100]]
        async with database.transaction() as transaction:
            await transaction.insert(plan, rows)
            await transaction.insert(outcome, ends)
            await transaction.insert(trace, steps)

    gone = await let_go(database, queue, AGES, NOW)

    assert (gone["plan"], gone["trace"]) == (2079, 2100)
    assert await left(database, plan) == ids[::100]


async def test_nothing_goes_that_a_job_may_still_ask_for(database: Database, queue: Queue) -> None:
    """Each of these could come again, and would then be done twice."""
    ids = [name(OLD, n) for n in range(6)]
    for mail_id in ids[:4]:
        await done(database, mail_id)
    await done(database, ids[4], ended=False)
    await done(database, ids[5])
    job = {"body": b"{}", "queue": "relay"}
    await put(database, outbox, key="k", mail_id=ids[0], created_at=OLD, **job)
    await put(database, parked, mail_id=ids[1], reason="x", parked_at=OLD, **job)
    held = {"tenant_id": 1, "recipient": "a@x.test", "reason": "spam", "created_at": OLD}
    await put(database, quarantine, mail_id=ids[2], n=0, **held)
    waits = {"domain": "x.test", "received_at": OLD, "next_attempt_at": NOW, "job": b"{}"}
    await put(database, deferred, mail_id=ids[3], n=0, recipient="a@x.test", **waits)
    # Two recipients, one outcome.
    binary = dict.fromkeys(("sha256", "envelope", "bodystructure", "body", "parts"), b"")
    place = {"segment": "s", "record_offset": 0, "record_length": 1, "size": 1}
    of = {"tenant_id": 1, "origin": "smtp", "received_at": OLD, "recipients": 2}
    await put(database, message, mail_id=ids[5], **of, **place, **binary)

    gone = await let_go(database, queue, AGES, NOW)

    assert gone == {"trace": 6, "plan": 0, "delivery_log": 0, "effect": 0}
    for table in LEDGER:
        assert await left(database, table) == ids


async def test_an_effect_stays_until_what_it_caused_is_at_its_end(
    database: Database, queue: Queue
) -> None:
    """Without it the collector would take the child for an orphan, and its content would go."""
    children = [name(OLD, 100), name(OLD, 101)]
    for number, child in enumerate(children):
        await done(database, name(OLD, number), child=child)
    await put(database, outcome, **at(children[0]), state="relayed")

    gone = await let_go(database, queue, AGES, NOW)

    assert gone["effect"] == 1
    assert await left(database, effect) == [name(OLD, 1)]


async def test_a_queue_that_nobody_takes_from_holds_everything_back(
    database: Database, queue: Queue
) -> None:
    await done(database, name(OLD))
    await queue.put("delivery", [b"a job that waits since then"])

    gone = await let_go(database, queue, AGES, NOW)

    assert gone == {"trace": 1, "plan": 0, "delivery_log": 0, "effect": 0}


async def test_zero_days_keep_everything(database: Database, queue: Queue) -> None:
    await done(database, name(OLD))

    assert await let_go(database, queue, Ages(0, 0), NOW) == {}
    assert await left(database, trace) == [name(OLD)]


@pytest.mark.parametrize("days", ["1", "29"])
def test_a_ledger_too_short_to_protect_is_refused(days: str) -> None:
    with pytest.raises(ValueError, match="would be done twice"):
        StorageSettings(ledger_days=float(days))
