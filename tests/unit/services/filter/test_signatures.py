"""clamd's signatures: what it says of them, and when they are new."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.db.schema import rescan
from services.filter.signatures import Signatures, begin_when_new, read_version


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            "ClamAV 1.4.3/27450/Mon Nov 23 08:00:00 2026\n",
            Signatures(27450, 1795420800.0),
        ),
        ("ClamAV 1.4.3", None),
        ("ClamAV 1.4.3/27450/yesterday", None),
        ("", None),
    ],
)
def test_the_answer_to_version_is_read(answer: str, found: Signatures | None) -> None:
    assert read_version(answer) == found


async def test_each_new_database_begins_one_rescan_and_the_first_none(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/holub.db")
    await migrate(database)

    begun = [
        await begin_when_new(database, number, 24, 1_000_000.0)
        for number in (27450, 27450, 27452, 27452, 27451, 27450, 27453)
    ]

    assert begun == [False, False, True, False, False, False, True]
    async with database.reading() as transaction:
        rows = await transaction.rows(select(rescan).order_by(rescan.c.id))
    assert [row.reason for row in rows] == ["clamd database 27452", "clamd database 27453"]
    assert {(row.since, row.until) for row in rows} == {(1_000_000.0 - 86400, 1_000_000.0)}
    await database.close()
