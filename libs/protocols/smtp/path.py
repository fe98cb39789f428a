"""Reverse-paths and forward-paths (RFC 5321 §4.1.2), with SMTPUTF8 (RFC 6531 §3.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LOCAL_PART = 64
"""Octets (RFC 5321 §4.5.3.1.1)."""
MAX_DOMAIN = 255
"""Octets (RFC 5321 §4.5.3.1.2)."""
MAX_PATH = 256
"""Octets, with the angle brackets (RFC 5321 §4.5.3.1.3)."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"
_LETTER = r"A-Za-z0-9_\u0080-\U0010ffff"
_LABEL = rf"[{_LETTER}](?:[{_LETTER}\-]*[{_LETTER}])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
# A source route is accepted and ignored (RFC 5321 §4.1.1.3, appendix C).
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_PATH = re.compile(
    rf'<{_ROUTE}(?P<local>{_ATEXT}+(?:\.{_ATEXT}+)*|"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*")'
    rf"@(?P<domain>{_DOMAIN}|\[[A-Za-z0-9:.\-]+\])>"
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_NULL = "<>"
_POSTMASTER = "<postmaster>"


@dataclass(frozen=True, slots=True)
class Path:
    """A mailbox in the envelope; the null path `<>` has neither part."""

    local_part: str = ""
    domain: str = ""

    @property
    def address(self) -> str:
        """`local-part@domain`, or the empty string for the null path."""
        return f"{self.local_part}@{self.domain}" if self.domain else self.local_part

    @property
    def is_ascii(self) -> bool:
        """May it travel without SMTPUTF8?"""
        return self.local_part.isascii() and self.domain.isascii()


class PathError(ValueError):
    """Not a path; the text says what is wrong with it."""


def parse_path(text: str, *, null: bool = False) -> tuple[Path, str]:
    """(path, what follows it): `<a@b> SIZE=1` gives the path and `SIZE=1`.

    `null` allows `<>`.  `<postmaster>` needs no domain (RFC 5321 §4.5.1).
    """
    if text.startswith(_NULL):
        if not null:
            raise PathError("the null path is for MAIL only")
        return Path(), _rest(text, len(_NULL))
    if text[: len(_POSTMASTER)].lower() == _POSTMASTER:
        return Path(text[1:11]), _rest(text, len(_POSTMASTER))
    match = _PATH.match(text)
    if match is None:
        raise PathError("write the address as <local-part@domain>")
    path = Path(_local_part(match["local"]), match["domain"].rstrip(".").lower())
    _check_lengths(path, match.group())
    return path, _rest(text, match.end())


def _local_part(text: str) -> str:
    # The local-part belongs to its destination and is kept as it came (RFC 5321 §2.4), but
    # needless quotes are not part of it (RFC 5321 §4.1.2).
    if not text.startswith('"'):
        return text
    inner = _QUOTED_PAIR.sub(r"\1", text[1:-1])
    plain = re.fullmatch(rf"{_ATEXT}+(?:\.{_ATEXT}+)*", inner)
    return inner if plain else text


def _check_lengths(path: Path, whole: str) -> None:
    if len(path.local_part.encode()) > MAX_LOCAL_PART:
        raise PathError(f"a local-part has at most {MAX_LOCAL_PART} octets")
    if len(path.domain.encode()) > MAX_DOMAIN:
        raise PathError(f"a domain has at most {MAX_DOMAIN} octets")
    if len(whole.encode()) > MAX_PATH + MAX_LOCAL_PART:
        raise PathError(f"a path has at most {MAX_PATH} octets")


def _rest(text: str, end: int) -> str:
    if end < len(text) and text[end] != " ":
        raise PathError("a space must follow the path")
    return text[end:].strip()
