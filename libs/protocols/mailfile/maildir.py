"""Maildir: what the names of its files and folders say (https://cr.yp.to/proto/maildir.html).

Files are `UNIQUE[,KEY=VALUE...]:2,FLAGS`; `U=` is the UID, as mbsync writes it.  Folders are those
of Maildir++ (`.A.B`) or plain ones (`A/B`), their names in modified UTF-7.  A dot within a name is
written `%2E`, and a percent sign before `2E` or `25` as `%25`, for the dot is the separator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from libs.protocols.imap.mutf7 import decode_name, encode_name

_UID = re.compile(r",U=(\d{1,10})")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SYSTEM = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "P": "$Forwarded",
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
KEPT = ",kept"
"""In a name: the line ends are the message's own."""


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file's name says."""

    unique: str
    """For ever of this message, whatever happens to the rest of the name."""
    flags: tuple[str, ...]
    """As IMAP names them."""
    uid: int
    kept: bool


def parse(name: str, keywords: Sequence[str] = ()) -> FileName:
    """A file's name; `keywords` are those of the letters a to z (dovecot-keywords)."""
    base, _, info = name.partition(":2,")
    unique = base.partition(",")[0]
    uid = _UID.search(base)
    flags = [_SYSTEM[c] for c in info if c in _SYSTEM]
    flags += [keywords[i] for c in info if -1 < (i := _LETTERS.find(c)) < len(keywords)]
    return FileName(unique, tuple(flags), int(uid[1]) if uid else 0, KEPT in base)


def file_name(name: FileName, size: int, keywords: list[str]) -> str:
    """The name of a file of so many octets; new keywords are added to the list, at most 26."""
    letters = [c for c, flag in _SYSTEM.items() if flag in name.flags]
    for flag in name.flags:
        if flag in _SYSTEM.values() or not flag:
            continue
        if flag not in keywords and len(keywords) < len(_LETTERS):
            keywords.append(flag)
        if flag in keywords:
            letters.append(_LETTERS[keywords.index(flag)])
    kept = KEPT if name.kept else ""
    return f"{name.unique}{kept},S={size},U={name.uid}:2,{''.join(sorted(letters))}"


def folder_name(mailbox: str) -> str:
    """The folder of a mailbox in Maildir++; INBOX is the Maildir itself, that is an empty name."""
    if mailbox == "INBOX":
        return ""
    return "".join(f".{level_name(level)}" for level in mailbox.split("/"))


def level_name(level: str) -> str:
    """One level of a mailbox name, as it can stand in a path."""
    return encode_name(re.sub("%(?=2E|25)", "%25", level).replace(".", "%2E")).decode()


def mailbox_name(parts: Sequence[str]) -> str:
    """The mailbox of a folder, by its path below the Maildir."""
    levels: list[str] = []
    for part in parts:
        levels += part[1:].split(".") if part.startswith(".") else [part]
    names = [_unescape(decode_name(level.encode("utf-8", "surrogateescape"))) for level in levels]
    return "/".join(name for name in names if name) or "INBOX"


def _unescape(level: str) -> str:
    return re.sub("%(2E|25)", lambda m: "." if m[1] == "2E" else "%", level)
