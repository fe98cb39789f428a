"""`holub backup`: a snapshot of the database, then every segment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, open_database
from libs.common.db.revision import current, fits
from libs.common.runtime.settings import PlatformSettings
from services.cli.backup.archive import Archive, Kept, Manifest, name_of, sha256_of
from services.cli.backup.progress import Progress, octets
from services.cli.backup.segments import CopyOut, check, each, examine
from services.cli.backup.tables import dump
from services.platform import StartError

_FEW = 10


async def take(folder: Path, keep: int) -> int:
    """Make a backup; 0, or 1 when there is damage in what was backed up."""
    settings: PlatformSettings = PlatformSettings.load()
    archive, progress = Archive(folder), Progress()
    with archive.locked():
        database = open_database(settings.database_url, pool=1)
        blobs = open_blobstore(settings.blob_url)
        try:
            manifest = await _take(database, blobs, archive, progress)
        finally:
            await blobs.close()
            await database.close()
        if keep:
            _prune(archive, keep)
    rows = sum(table.rows for table in manifest.tables)
    progress.done(
        f"backup {manifest.name}: {rows:,} rows, {manifest.segments:,} segments,"
        f" {octets(manifest.octets)}"
    )
    return _tell(manifest)


async def _take(
    database: Database, blobs: BlobStore, archive: Archive, progress: Progress
) -> Manifest:
    revision = await current(database)
    if revision is None or not fits(revision):
        raise StartError("the database is not at this version's schema; run: holub migrate")
    started_at = time.time()
    name = name_of(started_at)
    needed = _Needed()
    async with database.snapshot() as connection:
        tables = await dump(
            connection, archive, archive.folder(name), progress, {"message": needed.note}
        )
    progress.done(f"database: {sum(table.rows for table in tables):,} rows")
    # The segments come second, so none that a row of the snapshot refers to is left out.
    copy = CopyOut(blobs, archive, _known(archive), progress)
    await copy.run()
    progress.done(f"blobs: {copy.copied:,} new segments, {octets(copy.octets)}")
    manifest = Manifest(
        name,
        started_at,
        time.time(),
        revision,
        tuple(tables),
        len(copy.kept),
        sum(item.size for item in copy.kept),
        archive.write_catalogue(name, copy.kept),
        tuple(sorted(copy.damaged)),
        tuple(needed.missing(copy.kept)),
    )
    archive.sync()
    archive.write_manifest(manifest)
    archive.sync()
    return manifest


class _Needed:
    """How far into each segment the rows of `message` reach."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    def note(self, row: Any) -> None:
        """Look at one row."""
        end = row.record_offset + row.record_length
        if end > self._ends.get(row.segment, 0):
            self._ends[row.segment] = end

    def missing(self, kept: Iterable[Kept]) -> list[str]:
        """Segments that are not there, or end too early."""
        sizes = {item.key: item.size for item in kept}
        return sorted(key for key, end in self._ends.items() if sizes.get(key, 0) < end)


def _known(archive: Archive) -> dict[str, Kept]:
    """What an earlier backup brought here."""
    manifests = archive.manifests()
    return archive.catalogue(manifests[-1]) if manifests else {}


def _prune(archive: Archive, keep: int) -> None:
    """Forget all backups but the newest, and the segments that only they had."""
    manifests = archive.manifests()
    old, left = manifests[:-keep], manifests[-keep:]
    wanted = {key for manifest in left for key in archive.catalogue(manifest)}
    gone = {key for manifest in old for key in archive.catalogue(manifest)} - wanted
    for manifest in old:
        # Its manifest first: what is half removed must not look like a backup.
        (archive.folder(manifest.name) / "manifest.json").unlink()
        shutil.rmtree(archive.folder(manifest.name))
    for key in gone:
        archive.segment(key).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            archive.segment(key).parent.rmdir()


def _tell(manifest: Manifest) -> int:
    for what, items in (
        ("damaged, as the blob store has it", manifest.damaged),
        ("not in the blob store, though rows refer to it", manifest.missing),
    ):
        for item in items[:_FEW]:
            print(f"{item}: {what}")
        if len(items) > _FEW:
            print(f"and {len(items) - _FEW} more: {what}")
    return 1 if manifest.damaged or manifest.missing else 0


async def verify(folder: Path, name: str) -> int:
    """Read a backup, all of it: every checksum of every file and record."""
    archive, progress = Archive(folder), Progress()
    manifest = archive.choose(name)
    wrong: list[str] = []
    for table in manifest.tables:
        path = archive.folder(manifest.name) / f"{table.name}.rows.gz"
        if not path.exists() or sha256_of(path).hex() != table.sha256:
            wrong.append(f"{path} is missing or does not match its checksum")
    kept = archive.catalogue(manifest)
    known = set(manifest.damaged)

    async def one(item: Kept) -> None:
        try:
            await asyncio.to_thread(check, archive.segment(item.key), item)
        except StartError as error:
            wrong.append(str(error))
            return
        found = await asyncio.to_thread(_damage, archive.segment(item.key))
        wrong.extend(f"{item.key} at {at}: damaged" for at in found)
        progress.step(f"verify: {item.key}")

    await each(kept.values(), one)
    wrong = [line for line in wrong if line.removesuffix(": damaged") not in known]
    for line in wrong:
        print(line)
    if not wrong:
        print(f"backup {manifest.name} is whole: {len(kept):,} segments")
    return 1 if wrong else 0


def _damage(path: Path) -> list[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return examine(fd)[1]
    finally:
        os.close(fd)
