"""`holub restore`: a backup into an empty database and blob store, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from sqlalchemy import text

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, open_database
from libs.common.db.migrate import begin_anew, migrate
from libs.common.db.revision import current, fits, knows
from libs.common.runtime.settings import PlatformSettings
from services.cli import table
from services.cli.backup.archive import Archive, Kept, Manifest
from services.cli.backup.progress import Progress
from services.cli.backup.reconcile import Reconcile, Report, renew_uidvalidity
from services.cli.backup.segments import all_segments, copy_in
from services.cli.backup.tables import load, require_empty
from services.platform import StartError

_FEW = 50
_ENDS = text("""
    SELECT segment, MAX(record_offset + record_length) AS octets FROM message GROUP BY segment""")


async def restore(folder: Path, name: str, *, blobs_too: bool, new_uids: bool) -> Report:
    """Load a backup and put right what has changed since it was taken."""
    settings: PlatformSettings = PlatformSettings.load()
    archive, progress = Archive(folder), Progress()
    manifest = archive.choose(name)
    if not knows(manifest.revision):
        raise StartError(
            f"backup {manifest.name} is of schema {manifest.revision}, which this version does not"
            " know; restore it with the version that made it, or a newer one"
        )
    database = open_database(settings.database_url, pool=2)
    blobs = open_blobstore(settings.blob_url)
    try:
        await require_empty(database)
        if blobs_too:
            count = await copy_in(blobs, archive, _since(archive, manifest), progress)
            progress.done(f"blobs: {count:,} segments")
        await begin_anew(database, manifest.revision)
        rows = await load(database, archive.folder(manifest.name), manifest.tables, progress)
        await migrate(database)
        progress.done(f"database: {rows:,} rows, of {_when(manifest.started_at)}")
        return await _put_right(database, blobs, manifest.started_at, new_uids, progress)
    finally:
        await blobs.close()
        await database.close()


def _since(archive: Archive, manifest: Manifest) -> Sequence[Kept]:
    """The segments of this backup and of all later ones: they hold what was accepted since."""
    kept = dict(archive.catalogue(manifest))
    for later in archive.manifests():
        if later.started_at > manifest.started_at:
            kept |= archive.catalogue(later)
    return list(kept.values())


async def reconcile(since: float, *, new_uids: bool) -> Report:
    """The same for a database that was brought back by its own means."""
    settings: PlatformSettings = PlatformSettings.load()
    database = open_database(settings.database_url, pool=2)
    blobs = open_blobstore(settings.blob_url)
    try:
        if not fits(await current(database)):
            raise StartError("the database is not at this version's schema; run: holub migrate")
        return await _put_right(database, blobs, since, new_uids, Progress())
    finally:
        await blobs.close()
        await database.close()


async def _put_right(
    database: Database, blobs: BlobStore, since: float, new_uids: bool, progress: Progress
) -> Report:
    if new_uids:
        await renew_uidvalidity(database)
    report = await Reconcile(database, blobs, since, progress).run()
    report.unreadable += await _unreadable(database, blobs)
    return report


async def _unreadable(database: Database, blobs: BlobStore) -> list[str]:
    """Segments that rows refer to and that are not there as far as they must be."""
    sizes = {segment.key: segment.octets async for segment in all_segments(blobs)}
    async with database.reading() as transaction:
        rows = await transaction.rows(_ENDS)
    return sorted(row.segment for row in rows if sizes.get(row.segment, 0) < row.octets)


def tell(report: Report, as_json: bool, file: Path | None) -> int:
    """Print what was done and what a person must know; 1 when content is missing."""
    raw = msgspec.json.format(msgspec.json.encode(report), indent=1)
    if file is not None:
        file.write_bytes(raw)
    if as_json:
        print(raw.decode())
        return int(bool(report.unreadable))
    print(f"the database is of {_when(report.since)}; since then, from the segments:")
    print(f"  {report.put_again} messages are delivered as soon as the roles run")
    print(f"  {report.notices_again} notices of failure (DSN) likewise")
    print(f"  {report.saved_again} messages that clients had saved are in `Restored`")
    if report.lost_saves:
        print(f"  {len(report.lost_saves)} such have no account, and stay in the blob store")
    rows = [msgspec.to_builtins(item) for item in report.maybe_twice]
    title = f"May be sent twice: {len(rows)} recipients"
    table.show(rows[:_FEW], False, title, ("mail_id", "recipient", "received_at", "why"))
    if len(rows) > _FEW:
        print(f"and {len(rows) - _FEW} more; --report FILE writes all of them")
    for segment in report.unreadable[:_FEW]:
        print(f"content is missing: {segment}")
    print("before the roles start: holub fsck --content")
    return int(bool(report.unreadable))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
