"""`holub gc`: one pass of garbage collection, now; or what it would do."""

from __future__ import annotations

import asyncio
import json
import time

from libs.common.db.revision import current, fits
from libs.common.garbage import Collector, Pass
from libs.common.runtime.settings import PlatformSettings
from services.cli import table
from services.platform import StartError, open_platform
from services.storage.settings import StorageSettings

_MEANING = {
    "live": "mostly needed; not looked into",
    "pinned": "a job or an unfinished message needs it, or it is too young",
    "damaged": "kept; see holub fsck",
    "compacted": "mostly dead: what is needed moves to new segments",
    "marked": "nothing needs it: marked now",
    "waiting": "marked before; the second look comes later",
    "spared": "marked before, and needed after all",
    "trashed": "into the trash now",
    "trash": "in the trash; deleted after the grace",
    "deleted": "deleted now",
}


def collect(dry_run: bool, as_json: bool) -> None:
    """Run one pass, whatever the schedule says, and print what it did."""
    done = asyncio.run(_collect(dry_run))
    if as_json:
        tallies = {
            step: {"segments": t.segments, "octets": t.octets} for step, t in done.tallies.items()
        }
        print(json.dumps({"forgotten": done.forgotten, "moved": done.moved, **tallies}))
        return
    rows = [
        {"step": step, "segments": t.segments, "octets": t.octets, "meaning": meaning}
        for step, meaning in _MEANING.items()
        if (t := done.tallies.get(step))
    ]
    title = "Garbage (nothing was changed)" if dry_run else "Garbage"
    table.show(rows, False, title, ("step", "segments", "octets", "meaning"))
    print(f"{done.forgotten} rows of messages that nothing needs; {done.moved} records moved")


async def _collect(dry_run: bool) -> Pass:
    settings: StorageSettings = StorageSettings.load()
    async with open_platform(PlatformSettings.load()) as platform:
        if not fits(await current(platform.database)):
            raise StartError("the database is not at this version's schema; run: holub migrate")
        rules = settings.garbage_rules()
        collector = Collector(platform.database, platform.queue, platform.blobs, rules)
        return await collector.collect(time.time(), dry_run=dry_run)
