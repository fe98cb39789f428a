"""The ledger's question: which messages does some row account for?"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from libs.common.db import Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import deferred, outbox, outcome, parked, quarantine


async def accounted(
    transaction: Transaction, ids: Sequence[str]
) -> tuple[set[tuple[str, int]], set[str]]:
    """((mail_id, n) that have a state, mail_ids whose whole job is held somewhere)."""
    units: set[tuple[str, int]] = set()
    for table in (outcome, deferred, quarantine):
        query = select(table.c.mail_id, table.c.n)
        query = query.where(in_list(table.c.mail_id, ids, transaction.dialect))
        units.update((row.mail_id, row.n) for row in await transaction.rows(query))
    whole: set[str] = set()
    for held in (outbox, parked):
        query = select(held.c.mail_id).where(in_list(held.c.mail_id, ids, transaction.dialect))
        whole.update(row.mail_id for row in await transaction.rows(query))
    return units, whole
