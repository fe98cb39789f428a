"""Who asks: a role, its reach, and the permissions that follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from libs.common.accounts.registry import RegistryError


class Role(StrEnum):
    """What people and keys may be, from most to least."""

    PLATFORM = "platform-admin"
    TENANT = "tenant-admin"
    DOMAIN = "domain-admin"
    SUPPORT = "support"
    ACCOUNT = "account"


class Forbidden(RegistryError):
    """The principal may not do that at all, to anything."""


def _both(*names: str) -> frozenset[str]:
    return frozenset(f"{name}:{verb}" for name in names for verb in ("read", "write"))


_OWN = _both("self", "scripts", "quarantine") | {"trace:read"}
_DOMAIN = (
    _OWN
    | _both("accounts", "aliases", "mailboxes", "mail", "blocks", "queue")
    | {"domains:read", "doctor:read"}
)
_TENANT = _DOMAIN | _both("domains", "keys", "rescans", "suppressions") | {"audit:read"}
_SUPPORT = frozenset(
    f"{name}:read"
    for name in (
        "domains",
        "accounts",
        "aliases",
        "mailboxes",
        "quarantine",
        "trace",
        "doctor",
        "blocks",
        "queue",
        "suppressions",
    )
) | {"self:read"}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.PLATFORM: _TENANT
    | _both("tenants", "parked")
    | {"queues:read", "settings:read", "audit:verify"},
    Role.TENANT: _TENANT,
    Role.DOMAIN: _DOMAIN,
    Role.SUPPORT: _SUPPORT,
    Role.ACCOUNT: _OWN,
}
"""What each role may do; a key can narrow it by scopes."""
_RANK = {Role.PLATFORM: 4, Role.TENANT: 3, Role.DOMAIN: 2, Role.SUPPORT: 1, Role.ACCOUNT: 0}


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated key, person, or the operator at the machine itself."""

    actor: str
    """For the audit: `key:NAME`, an address, or `local:USER`."""
    role: Role
    tenant_id: int | None = None
    """None: the whole platform (only platform-admin, or support of the platform)."""
    domains: frozenset[str] = frozenset()
    """Of a domain-admin."""
    account_id: int | None = None
    address: str = ""
    """Of the account."""
    scopes: frozenset[str] = frozenset()
    """Empty: all that the role permits."""
    client: str = ""
    expires_at: float | None = None

    @property
    def everywhere(self) -> bool:
        """Sees the rows of every tenant."""
        return self.tenant_id is None and self.role in (Role.PLATFORM, Role.SUPPORT)

    @property
    def permissions(self) -> frozenset[str]:
        """What it may do, scopes counted."""
        role = PERMISSIONS[self.role]
        if not self.scopes:
            return role
        wide = {name for name in role if f"{name.split(':')[0]}:*" in self.scopes}
        return role & self.scopes | wide

    def may(self, permission: str) -> bool:
        """Is it permitted at all?  On which rows is a question of reach."""
        return permission in self.permissions

    def must_outrank(self, role: Role, field: str = "role") -> None:
        """`Forbidden` unless it may make, change or remove somebody with this role."""
        if self.role is Role.PLATFORM and self.tenant_id is None:
            return
        if role is Role.PLATFORM or _RANK[role] > _RANK[self.role]:
            raise Forbidden(field, f"{self.role} may not make or change a {role}")


def local_operator(user: str) -> Principal:
    """Whoever can open the database itself needs no key."""
    return Principal(f"local:{user}", Role.PLATFORM)
