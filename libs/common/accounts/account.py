"""An account, and what an address means here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Account:
    """Who logs in and owns mailboxes."""

    id: int
    tenant_id: int
    address: str
    enabled: bool
    quota_octets: int
    """0: no limit."""
    used_octets: int
    quota_messages: int
    used_messages: int

    @property
    def over_quota(self) -> bool:
        """No room for another message."""
        octets = 0 < self.quota_octets <= self.used_octets
        return octets or 0 < self.quota_messages <= self.used_messages


class RecipientKind(StrEnum):
    """What RCPT should answer for an address."""

    LOCAL = "local"
    UNKNOWN = "unknown"
    REMOTE = "remote"
    DISABLED = "disabled"
    OVER_QUOTA = "over_quota"


@dataclass(frozen=True, slots=True)
class Targets:
    """What one recipient address stands for, aliases followed."""

    accounts: tuple[tuple[int, str], ...] = ()
    """(account id, its address)."""
    remote: tuple[str, ...] = ()
    """Addresses in domains that are not ours."""
    unknown: bool = False
    """Nothing stands behind it."""
    scripts: tuple[tuple[int, str], ...] = ()
    """(account id, `account.scripts`) of those accounts that have an active Sieve script."""


def split_address(address: str) -> tuple[str, str]:
    """(local-part, domain); the last `@` divides, since a quoted local-part may hold one."""
    local_part, _, domain = address.rpartition("@")
    return local_part, domain


def canonical(address: str) -> str:
    """The form under which our own addresses are kept: lower case, without a subaddress.

    RFC 5321 §2.4 leaves the case of a local-part to its destination, which is us.
    """
    local_part, domain = split_address(address.lower())
    return f"{local_part.split('+', 1)[0] or local_part}@{domain}"
