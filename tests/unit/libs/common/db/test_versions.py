"""Two versions side by side: the schema of N, with a process of N-1 beside it."""

from __future__ import annotations

import json
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from libs.common.db import open_database
from libs.common.db.migrate import migrate
from libs.common.db.revision import MIGRATIONS, current, fits, head, knows
from libs.common.jobs import StorageJob, decode, encode


async def test_a_newer_schema_is_worked_on_and_never_migrated_back(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/holub.db")
    await migrate(database)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert await migrate(database) == "9999"
    assert fits(await current(database))
    await database.close()


def test_the_names_of_the_migrations_say_what_the_migrations_say() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)

    assert head() == scripts.get_current_head()
    assert all(knows(script.revision) for script in scripts.walk_revisions())
    assert not knows("9999")


async def test_a_database_without_tables_is_at_no_revision(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/holub.db")
    assert await current(database) is None
    await database.close()


def test_an_older_schema_or_none_stops_the_start() -> None:
    assert fits(head())
    assert not fits("0001")
    assert not fits(None)


def test_a_job_of_the_next_version_with_a_new_field_is_still_done() -> None:
    """Fields are only added, with defaults: the old reader passes over what it does not know."""
    job = StorageJob("id", 1.0, 5, ())
    newer = {**json.loads(encode(job)), "ver": 2, "colour": {"of": "tomorrow"}}

    read = decode(json.dumps(newer).encode(), StorageJob)

    assert (read.mail_id, read.size, read.ver) == ("id", 5, 2)


def test_a_job_of_the_version_before_is_still_done() -> None:
    """What was queued before the upgrade, as the first version wrote it."""
    older = b'{"type":"storage","mail_id":"id","received_at":1.0,"size":5,"targets":[]}'

    assert decode(older, StorageJob) == StorageJob("id", 1.0, 5, ())
