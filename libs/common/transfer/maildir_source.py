"""A Maildir with its folders, as Dovecot, Courier, mbsync and offlineimap lay them out."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from libs.common.blobstore.spool import SpoolFile
from libs.common.transfer.files import blocks, content_of, file_below, folder_below
from libs.common.transfer.letter import (
    MAX_OCTETS,
    Folder,
    Known,
    Letter,
    Progress,
    TransferError,
    flags_of,
    key_of,
)
from libs.protocols.mailfile.lines import ToCrlf
from libs.protocols.mailfile.maildir import FileName, mailbox_name, parse

_ASKED_AT_ONCE = 500
_DOVECOT = re.compile(rb"3 .*?\bV(\d+)")
_DOVECOT_LINE = re.compile(rb"(\d+) [^:\n]*:([^\n]+)")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: FileName
    uid: int


class MaildirSource:
    """Files are read when their turn comes; links are passed over, of files and of folders."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: dict[str, Path] = {}

    async def folders(self) -> list[Folder]:
        """Every folder below the root, and the root itself, that has a `cur`."""
        self._paths = await asyncio.to_thread(self._find)
        if not self._paths:
            raise TransferError(f"{self._root} is no Maildir: no folder in it has a `cur`")
        return [
            Folder(name, _uidvalidity(self._root, path))
            for name, path in sorted(self._paths.items())
        ]

    def _find(self) -> dict[str, Path]:
        found = {}
        for path, folders, _ in os.walk(self._root):
            folder = Path(path)
            if (folder / "cur").is_dir() and not (folder / "cur").is_symlink():
                found[mailbox_name(folder.relative_to(self._root).parts)] = folder
            folders[:] = sorted(set(folders) - {"cur", "new", "tmp"})
        return found

    async def letters(
        self, folder: Folder, known: Known, progress: Progress
    ) -> AsyncGenerator[Letter, None]:
        """By UID where the folder has UIDs, and by the time in the names."""
        files, passed = await asyncio.to_thread(_files, self._root, self._paths[folder.name])
        progress.problems += passed
        progress.total += len(files)
        for at in range(0, len(files), _ASKED_AT_ONCE):
            keys = {_key(folder, file): file for file in files[at : at + _ASKED_AT_ONCE]}
            there = await known(keys)
            progress.known += len(there)
            for key, file in keys.items():
                if key in there:
                    continue
                try:
                    letter = await _letter(key, self._root, file)
                except OSError as error:
                    progress.problems.append(f"{file.path}: {error.strerror}; run this again")
                    continue
                if letter is None:
                    progress.problems.append(f"{file.path}: too large")
                else:
                    yield letter


def _key(folder: Folder, file: _File) -> str:
    return key_of("maildir", folder.name, file.name.unique)


async def _letter(key: str, root: Path, file: _File) -> Letter | None:
    spool, lines = SpoolFile(), ToCrlf(kept=file.name.kept)
    try:
        with file_below(root, file.path) as source:
            status = os.fstat(source.fileno())
            if status.st_size > MAX_OCTETS:
                spool.close()
                return None
            async for block in blocks(source):
                await spool.write(lines.feed(block))
        flags, keywords = flags_of(file.name.flags)
        content = await content_of(spool)
        return Letter(key, content, flags, keywords, float(int(status.st_mtime)), file.uid)
    except BaseException:
        spool.close()
        raise


def _files(root: Path, folder: Path) -> tuple[list[_File], list[str]]:
    """The messages of a folder in their order, and what is passed over."""
    keywords, uids = _keywords(root, folder), _dovecot_uids(root, folder)
    found: list[_File] = []
    passed: list[str] = []
    for place in (folder / "cur", folder / "new"):
        names, others = _names(root, place)
        passed += others
        for text in names:
            name = parse(text, keywords)
            uid = name.uid or uids.get(text.partition(":")[0].encode(), 0)
            found.append(_File(place / text, name, uid))
    return sorted(found, key=lambda f: (f.uid or 1 << 40, f.name.unique)), passed


def _names(root: Path, place: Path) -> tuple[list[str], list[str]]:
    """Regular files, and what is passed over."""
    names, passed = [], []
    try:
        with folder_below(root, place) as at, os.scandir(at) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    names.append(entry.name)
                else:
                    passed.append(f"{place / entry.name}: is no regular file; passed over")
    except FileNotFoundError:
        pass
    except OSError as error:
        passed.append(f"{place}: {error.strerror} (links are not followed); passed over")
    return names, passed


def _keywords(root: Path, folder: Path) -> list[str]:
    """The keywords of the letters a to z."""
    words = [""] * 26
    for line in _lines(root, folder / "dovecot-keywords"):
        number, _, word = line.decode("ascii", "replace").strip().partition(" ")
        if number.isdigit() and int(number) < len(words):
            words[int(number)] = word
    return words


def _lines(root: Path, path: Path) -> list[bytes]:
    try:
        with file_below(root, path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _uidvalidity(root: Path, folder: Path) -> int:
    """As mbsync or Dovecot noted it, else 0."""
    mbsync = _lines(root, folder / ".uidvalidity")
    if mbsync and mbsync[0].isdigit():
        return int(mbsync[0])
    dovecot = _lines(root, folder / "dovecot-uidlist")
    match = _DOVECOT.match(dovecot[0]) if dovecot else None
    return int(match[1]) if match else 0


def _dovecot_uids(root: Path, folder: Path) -> dict[bytes, int]:
    matches = map(_DOVECOT_LINE.match, _lines(root, folder / "dovecot-uidlist")[1:])
    return {m[2].partition(b":")[0]: int(m[1]) for m in matches if m}
