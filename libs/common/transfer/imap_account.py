"""An account on another IMAP server: one session, whose blocking calls are made in threads."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from libs.common.transfer.letter import TransferError

T = TypeVar("T")
_SECONDS = 120
_PORTS = {"imap": 143, "imaps": 993}
AT_ONCE = 500
"""Messages that one FETCH of numbers or flags asks for, one by one in a line."""


@dataclass(frozen=True, slots=True)
class Address:
    """`imaps://USER@HOST[:PORT]`, or `imap:` where STARTTLS is used."""

    user: str
    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """`TransferError` says what is wrong with a URL."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise TransferError(f"{url}: {error}") from error
        if not parts.username or not parts.hostname or parts.path.strip("/") or parts.password:
            raise TransferError(
                f"write imaps://USER@HOST[:PORT], an @ within USER as %40, no password: not {url}"
            )
        return cls(unquote(parts.username), parts.hostname, port, parts.scheme == "imaps")

    @property
    def is_local(self) -> bool:
        """Is it this machine, so that a password need not be hidden on the way?"""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Account:
    """The other account, logged in at the first use."""

    def __init__(self, address: Address, password: str) -> None:
        self.address = address
        self._password = password
        self._client: IMAPClient | None = None
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[[IMAPClient], T]) -> T:
        """Run blocking work with the session; `TransferError` when the server does not do it."""
        async with self._turn:
            return await asyncio.to_thread(self._do, work)

    def _do(self, work: Callable[[IMAPClient], T]) -> T:
        with self._faults():
            if self._client is None:
                self._client = self._open()
            return work(self._client)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        host = self.address.host
        try:
            yield
        except LoginError as error:
            raise TransferError(f"{host}: no login as {self.address.user}: {error}") from error
        except ssl.SSLCertVerificationError as error:
            said = f"{host}: {error.verify_message}; a CA of your own is named by SSL_CERT_FILE"
            raise TransferError(said) from error
        except IMAPClientError as error:
            raise TransferError(f"{host} says: {error}") from error
        except OSError as error:
            raise TransferError(f"{host}: {error}; run this again") from error

    def _open(self) -> IMAPClient:
        at = self.address
        context = ssl.create_default_context()
        client = IMAPClient(at.host, at.port, ssl=at.tls, ssl_context=context, timeout=_SECONDS)
        client.normalise_times = False
        if not at.tls and client.has_capability("STARTTLS"):
            client.starttls(context)
        elif not at.tls and not at.is_local:
            raise TransferError(f"{at.host} offers no TLS: the password would be seen on the way")
        client.login(at.user, self._password)
        return client

    async def close(self) -> None:
        """Log out, if there was a login."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(_leave, client)


def _leave(client: IMAPClient) -> None:
    try:
        client.logout()
    except (IMAPClientError, OSError):
        client.shutdown()


@dataclass(frozen=True, slots=True)
class Names:
    """How mailboxes are named there: in one personal namespace (RFC 2342)."""

    prefix: str
    separator: str
    foreign: tuple[str, ...]
    """What mailboxes of other people begin with."""

    @classmethod
    def of(cls, client: IMAPClient) -> Names:
        """Ask the server."""
        personal: Any = None
        foreign: tuple[str, ...] = ()
        if client.has_capability("NAMESPACE"):
            found = client.namespace()
            personal = found.personal
            foreign = tuple(p for part in (found.other, found.shared) for p, _ in part or () if p)
        if personal:
            return cls(personal[0][0], personal[0][1] or "/", foreign)
        return cls("", _separator(client), foreign)

    def here(self, name: str) -> str:
        """What their mailbox is called here; empty: it is somebody else's."""
        if name.upper() == "INBOX":
            return "INBOX"
        if name.startswith(self.foreign):
            return ""
        levels = name.removeprefix(self.prefix).split(self.separator)
        return "/".join(level.replace("/", "_") for level in levels if level)

    def there(self, name: str) -> str:
        """What our mailbox is called there."""
        if name == "INBOX":
            return name
        levels = (level.replace(self.separator, "_") for level in name.split("/"))
        return self.prefix + self.separator.join(levels)


def _separator(client: IMAPClient) -> str:
    found = client.list_folders("", "")
    return (found[0][1] or b"/").decode() if found else "/"


def all_uids(client: IMAPClient, count: int) -> list[int]:
    """The UIDs of the selected mailbox, some at a time: no answer is one long line.

    By numbers, which do not change while nothing but FETCH is asked for (RFC 9051 §7.5.1).
    """
    uids: list[int] = []
    client.use_uid = False
    try:
        for numbers in numbers_of(count):
            uids += [item[b"UID"] for item in client.fetch(numbers, ["UID"]).values()]
    finally:
        client.use_uid = True
    return sorted(uids)


def numbers_of(count: int) -> Iterator[list[int]]:
    """1 to `count`, some at a time."""
    for first in range(1, count + 1, AT_ONCE):
        yield list(range(first, min(first + AT_ONCE, count + 1)))
