"""Who may log in: passwords, app passwords and SCRAM, with limits on guessing.

Whoever fails hears the same words after the same time, whether there is no such account, it is
suspended, the password is wrong, or is an app password for something else.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from prometheus_client import Counter
from sqlalchemy import ColumnElement, and_, or_, select, update

from libs.common.accounts import scram
from libs.common.accounts.account import Account
from libs.common.accounts.app_password import digest_of
from libs.common.accounts.credential import (
    PasswordVerifier,
    VerifierBusy,
    hash_password,
    is_current,
)
from libs.common.accounts.directory import ACCOUNT_COLUMNS, DirectoryUnavailable
from libs.common.accounts.settings import AuthenticationSettings
from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.schema import account, app_password
from libs.common.limits import Limit, Limits, network_keys
from libs.common.runtime.log import get_logger
from libs.protocols.sasl.scram import ScramKeys

log = get_logger(__name__)
_LOGINS = Counter("holub_logins_total", "Logins.", ["role", "result"])
_MOST_REMEMBERED = 50_000
_USED_SECONDS = 3600.0
"""How old `last_used_at` of an app password may be before it is written again."""
_LOOK_SECONDS = 10.0
"""How often we look whether everybody has SCRAM keys: one probe of a small index."""


class LoginRefused(Exception):
    """The client may not log in; the text is for it."""


class WrongCredentials(LoginRefused):
    """The one answer to everything that is wrong with a login."""

    def __init__(self) -> None:
        super().__init__("wrong address or password")


class TooManyFailures(LoginRefused):
    """This client, network or account failed too often."""

    def __init__(self, until: float) -> None:
        minutes = max(1, round((until - time.time()) / 60))
        super().__init__(f"too many failed logins; please try again in {minutes} minutes")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where a login comes from."""

    role: str
    """What it is for, which is what app passwords are limited to: smtp, imap, pop3, sieve."""
    ip: str


class Authenticator:
    """One per process, with the limits that it counts in."""

    def __init__(
        self, database: Database, limits: Limits, settings: AuthenticationSettings
    ) -> None:
        self._database = database
        self._limits = limits
        self._settings = settings
        self._verifier = PasswordVerifier()
        self._failed: dict[bytes, float] = {}
        self._peers: dict[tuple[str, str], None] = {}
        self.scram = settings.scram == "always"
        """Is SCRAM announced?"""
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look who has SCRAM keys, now and then."""
        if self._settings.scram == "auto" and self._watch is None:
            await self._look()
            self._watch = asyncio.create_task(self._look_again())

    async def close(self) -> None:
        """Stop looking."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    async def _look(self) -> None:
        try:
            self.scram = await scram.everybody_has_keys(self._database)
        except DatabaseUnavailable as error:
            log.warning("cannot see who has SCRAM keys", error=str(error))

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def password(self, login: str, password: str, attempt: Attempt) -> Account:
        """The account with this address and password, or one of its app passwords.

        Raises `LoginRefused`, or `DirectoryUnavailable` when it cannot be said now.
        """
        began = time.monotonic()
        login = login.strip().lower()
        self.admit(login, attempt)
        row = await self._find(login, password)
        by_app = row is not None and attempt.role in (row.scopes or "").split()
        try:
            stored = row.password_hash if row is not None else ""
            right = by_app or await self._verifier.verify(stored, password)
        except VerifierBusy as error:
            raise DirectoryUnavailable(str(error)) from error
        if row is None or not right or not row.enabled:
            await self.fail(login, attempt, began, self._verifier.digest(login, password))
        await self._after(row, "" if by_app else password)
        return self._welcome(row, attempt)

    async def keys(self, login: str, hash_name: str) -> ScramKeys:
        """The SCRAM keys of an account; some of nobody, always the same, when it has none."""
        login = login.strip().lower()
        try:
            return await scram.find_keys(self._database, login, hash_name)
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error

    async def proved(self, login: str, attempt: Attempt) -> Account:
        """The account that proved itself otherwise, when it is not suspended."""
        began = time.monotonic()
        login = login.strip().lower()
        row = await self._find(login, "")
        if row is None or not row.enabled:
            await self.fail(login, attempt, began)
        return self._welcome(row, attempt)

    def admit(self, login: str, attempt: Attempt) -> None:
        """Raises `TooManyFailures` for who is blocked."""
        login = login.strip().lower()
        keys = [f"auth:{key}" for key in network_keys(attempt.ip)]
        if login and (login, attempt.ip) not in self._peers:
            keys.append(f"auth:account/{login}")
        found = self._limits.blocks.find(keys, time.time())
        if found is not None:
            _LOGINS.labels(attempt.role, "blocked").inc()
            raise TooManyFailures(found.until)

    async def fail(
        self, login: str, attempt: Attempt, began: float | None = None, secret: bytes = b""
    ) -> NoReturn:
        """Count a failure and say so, not too soon; raises `WrongCredentials`.

        The same wrong password again and again (`secret` is its digest) is one failure: a
        forgotten telephone must not block an office.
        """
        now = time.monotonic()
        if not secret or self._failed.get(secret, 0.0) < now:
            self._count(login.strip().lower()[:320], attempt.ip)
        if secret:
            if len(self._failed) >= _MOST_REMEMBERED:
                self._failed.clear()
            self._failed[secret] = now + self._settings.window_seconds
        _LOGINS.labels(attempt.role, "wrong").inc()
        log.info("login failed", login=login[:320], peer=attempt.ip, role=attempt.role)
        soonest = (now if began is None else began) + self._settings.failure_seconds
        await asyncio.sleep(max(0.0, soonest - time.monotonic()))
        raise WrongCredentials

    def _count(self, login: str, ip: str) -> None:
        settings, now = self._settings, time.time()
        limits = {
            f"auth:{key}": settings.failures_per_network
            if key.startswith("net/")
            else settings.failures_per_ip
            for key in network_keys(ip)
        }
        # The names of nobody are counted alike, or blocking would tell who exists.
        limits[f"auth:account/{login}"] = settings.failures_per_account
        for key, most in limits.items():
            if (
                most
                and self._limits.counts.add(key, Limit(most, settings.window_seconds), now) >= most
            ):
                self._limits.blocks.add(key, "failed logins", settings.block_seconds, now)

    async def _find(self, login: str, password: str) -> Any:
        """One query, whoever it is, so that it takes the same time."""
        try:
            async with self._database.reading() as transaction:
                return await transaction.one_or_none(_query(login, digest_of(password)))
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error

    def _welcome(self, row: Any, attempt: Attempt) -> Account:
        _LOGINS.labels(attempt.role, "right").inc()
        if len(self._peers) >= _MOST_REMEMBERED:
            self._peers.clear()
        self._peers[row.address, attempt.ip] = None
        values: tuple[Any, ...] = tuple(row)[: len(ACCOUNT_COLUMNS)]
        return Account(*values)

    async def _after(self, row: Any, password: str) -> None:
        """Keep what is known now: a better hash, SCRAM keys, the use of an app password.

        None of it is worth refusing a login for.
        """
        try:
            if not password:
                await self._note_use(row)
            elif not is_current(row.password_hash):
                hashed = await self._verifier.run(lambda: hash_password(password))
                await self._keep(row, hashed)
        except (DatabaseUnavailable, VerifierBusy) as error:
            log.warning("a login could not be noted", account=row.address, error=str(error))

    async def _keep(self, row: Any, hashed: str) -> None:
        async with self._database.transaction() as transaction:
            # Only when the password is still this one: somebody may just have changed it.
            await transaction.execute(
                update(account)
                .where(account.c.id == row.id, account.c.password_hash == row.password_hash)
                .values(password_hash=hashed)
            )

    async def _note_use(self, row: Any) -> None:
        now = time.time()
        if now - (row.last_used_at or 0.0) > _USED_SECONDS:
            async with self._database.transaction() as transaction:
                await transaction.execute(
                    update(app_password)
                    .where(app_password.c.id == row.app_id)
                    .values(last_used_at=now)
                )


def _query(login: str, secret_hash: str) -> Any:
    valid: ColumnElement[bool] = or_(
        app_password.c.expires_at.is_(None), app_password.c.expires_at > time.time()
    )
    by_app = and_(
        app_password.c.account_id == account.c.id, app_password.c.secret_hash == secret_hash, valid
    )
    return (
        select(
            *ACCOUNT_COLUMNS,
            account.c.password_hash,
            app_password.c.id.label("app_id"),
            app_password.c.scopes,
            app_password.c.last_used_at,
        )
        .select_from(account.outerjoin(app_password, by_app))
        .where(account.c.address == login)
    )
