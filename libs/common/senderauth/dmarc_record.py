"""DMARC policy records (RFC 9989 §4.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

Policy = Literal["none", "quarantine", "reject"]
POLICIES = ("none", "quarantine", "reject")
# §4.7: `v=DMARC1` comes first and is case-sensitive.
_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s,!]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """What a domain wants."""

    policy: Policy
    """`p=`."""
    subdomains: Policy | None = None
    """`sp=`."""
    missing: Policy | None = None
    """`np=`: of names that do not exist."""
    strict_dkim: bool = False
    strict_spf: bool = False
    testing: bool = False
    """`t=y`: what is wanted is one step less."""
    psd: Literal["y", "n", "u"] = "u"
    reports: tuple[str, ...] = ()
    """`rua=`."""
    usable: bool = True
    """False: nothing is to be done, but the record still ends a tree walk."""


def is_dmarc(record: bytes) -> bool:
    """Whether a TXT record is one."""
    return _VERSION.match(record) is not None


@lru_cache(maxsize=4096)
def parse_dmarc(record: bytes) -> DmarcRecord:
    """The record; unknown tags and wrong values are passed over (§4.7)."""
    tags: dict[str, str] = {}
    for piece in record.decode("utf-8", "replace").split(";"):
        name, _, value = piece.partition("=")
        tags.setdefault(name.strip().lower(), value.strip())
    wanted = {name: tags[name].lower() for name in ("p", "sp", "np") if name in tags}
    reports = tuple(
        one.strip() for one in tags.get("rua", "").split(",") if _URI.fullmatch(one.strip())
    )
    wrong = any(value not in POLICIES for value in wanted.values())
    if wrong:
        # §4.10.1: with somebody to report to it counts as `p=none`, without as no record.
        wanted = {}
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        cast(Policy, wanted.get("p", "none")),
        cast("Policy | None", wanted.get("sp")),
        cast("Policy | None", wanted.get("np")),
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        tags.get("t", "n").lower() == "y",
        cast(Literal["y", "n", "u"], psd if psd in ("y", "n") else "u"),
        reports,
        usable=not wrong or bool(reports),
    )
