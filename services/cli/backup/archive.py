"""The folder that backups are kept in."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from services.platform import StartError

VERSION = 1
_LENGTH = 4
_BLOCK = 1024 * 1024
# What is in a backup is worth as much to a thief as the platform itself.
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


class TableFile(msgspec.Struct, frozen=True):
    """One table of a backup."""

    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What belongs to one backup; it is complete when this file is there."""

    name: str
    started_at: float
    """Seconds since the epoch, right before the snapshot of the database was taken."""
    finished_at: float
    revision: str
    """Of the database's schema."""
    tables: tuple[TableFile, ...]
    segments: int
    octets: int
    catalogue_sha256: str
    damaged: tuple[str, ...] = ()
    """Segments with records that do not match their checksums, `key at offset`."""
    missing: tuple[str, ...] = ()
    """Segments that rows refer to and the blob store did not have."""
    ver: int = VERSION


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A segment as the archive keeps it."""

    key: str
    source_size: int
    """Octets in the blob store, by which a later backup knows that nothing was added."""
    size: int
    """Octets of whole records, which is the size of the file."""
    sha256: bytes


class Archive:
    """A folder with backups and the segments that they share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def segment(self, key: str) -> Path:
        """Where a segment is kept."""
        if not key.startswith("mail/") or ".." in key.split("/"):
            raise StartError(f"{self.root} is damaged: {key!r} is not a segment")
        return self.root / key

    def folder(self, name: str) -> Path:
        """Where the files of one backup are."""
        return self.root / "backups" / name

    def manifests(self) -> list[Manifest]:
        """All finished backups, the oldest first."""
        found = []
        for path in sorted(self.root.glob("backups/*/manifest.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Manifest))
            except msgspec.MsgspecError as error:
                raise StartError(f"{path} cannot be read: {error}") from error
        return found

    def choose(self, name: str = "") -> Manifest:
        """The backup of that name, else the newest."""
        found = self.manifests()
        if not found:
            raise StartError(f"there is no finished backup in {self.root}")
        chosen = [item for item in found if item.name == name] if name else found[-1:]
        if not chosen:
            names = ", ".join(item.name for item in found)
            raise StartError(f"there is no backup {name} in {self.root}; there are: {names}")
        if chosen[0].ver > VERSION:
            raise StartError(f"backup {chosen[0].name} was made by a newer Holub; use that one")
        return chosen[0]

    def catalogue(self, manifest: Manifest) -> dict[str, Kept]:
        """The segments of a backup by key."""
        path = self.folder(manifest.name) / "segments.gz"
        if sha256_of(path).hex() != manifest.catalogue_sha256:
            raise StartError(f"{path} does not match its checksum; take another backup")
        with gzip.open(path) as file:
            found = [msgspec.convert(item, Kept) for item in frames(file)]
        return {item.key: item for item in found}

    def write_catalogue(self, name: str, kept: Sequence[Kept]) -> str:
        """Keep the list of segments; its SHA-256."""
        with self.packing(self.folder(name) / "segments.gz") as packed:
            for item in sorted(kept, key=lambda item: item.key):
                packed.write(frame(item))
        return sha256_of(self.folder(name) / "segments.gz").hex()

    def write_manifest(self, manifest: Manifest) -> None:
        """The last step: from now on the backup counts."""
        with self.writing(self.folder(manifest.name) / "manifest.json") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[IO[bytes]]:
        """A file that is whole and durable under its name, or not there."""
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, _FILE_MODE)
        try:
            with os.fdopen(fd, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def packing(self, path: Path) -> Iterator[gzip.GzipFile]:
        """The same, compressed."""
        with (
            self.writing(path) as file,
            # Of two backups of the same rows the files are the same, so no time is in them.
            gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
        ):
            yield packed

    def sync(self) -> None:
        """Make names durable, all that were written until now."""
        os.sync()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One backup at a time."""
        self.root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        fd = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR, _FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise StartError(f"another backup into {self.root} is under way") from error
        finally:
            os.close(fd)


def name_of(at: float) -> str:
    """The name of a backup that is begun at this time (UTC)."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))


def frame(item: Any) -> bytes:
    """MessagePack behind its length."""
    raw = msgspec.msgpack.encode(item)
    return len(raw).to_bytes(_LENGTH, "big") + raw


def frames(file: gzip.GzipFile) -> Iterator[Any]:
    """What was written as frames, one after the other."""
    while head := file.read(_LENGTH):
        raw = file.read(int.from_bytes(head, "big"))
        yield msgspec.msgpack.decode(raw)


def sha256_of(path: Path) -> bytes:
    """Of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
