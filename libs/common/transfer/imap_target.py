"""Mail into an account on another server.

That server cannot be asked whether it has a certain message of ours, so each mailbox is looked at
first: what has the same Message-ID and internal date is there already, as often as it is there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from imapclient import IMAPClient

from libs.common.mailstore import Mailbox
from libs.common.transfer.exporter import Outgoing
from libs.common.transfer.imap_account import Account, Names, numbers_of

_MESSAGE_ID = re.compile(
    rb"^message-id:[ \t]*(?:\r?\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_ITEM = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_MESSAGES, _OCTETS = 50, 4 * 1024 * 1024
Identity = tuple[bytes, int]


class ImapTarget:
    """Appends what the other server lacks."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._names: Names | None = None
        self._name = ""
        self._there: Counter[Identity] = Counter()

    async def begin(self, box: Mailbox) -> None:
        """Make the mailbox there, or see what is in it."""
        await self._account.do(lambda client: self._begin(client, box))

    def _begin(self, client: IMAPClient, box: Mailbox) -> None:
        self._names = self._names or Names.of(client)
        self._name = self._names.there(box.name)
        if not client.folder_exists(self._name):
            client.create_folder(self._name)
            if box.subscribed:
                client.subscribe_folder(self._name)
        count = client.select_folder(self._name, readonly=True)[b"EXISTS"]
        self._there = Counter(_identities(client, count))
        client.unselect_folder() if client.has_capability("UNSELECT") else client.close_folder()

    async def lacks(self, page: Sequence[Outgoing]) -> list[Outgoing]:
        """By their identities, and how many there are of each."""
        if not self._there:
            return list(page)
        missing = []
        for one in page:
            identity = await _identity(one)
            if self._there[identity] > 0:
                self._there[identity] -= 1
            else:
                missing.append(one)
        return missing

    async def write(self, page: Sequence[Outgoing]) -> None:
        """Many in one command where the server takes that (RFC 3502), the large ones alone."""
        group: list[dict[str, Any]] = []
        octets = 0
        for one in page:
            if group and (len(group) >= _MESSAGES or octets + one.entry.size > _OCTETS):
                await self._append(group)
                group, octets = [], 0
            group.append(
                {
                    "msg": b"".join([block async for block in one.blocks()]),
                    "flags": [flag.encode() for flag in one.flags],
                    "date": datetime.fromtimestamp(int(one.entry.internaldate), UTC),
                }
            )
            octets += one.entry.size
        if group:
            await self._append(group)

    async def _append(self, group: list[dict[str, Any]]) -> None:
        def work(client: IMAPClient) -> None:
            if client.has_capability("MULTIAPPEND"):
                client.multiappend(self._name, group)
                return
            for message in group:
                client.append(self._name, message["msg"], message["flags"], message["date"])

        await self._account.do(work)

    async def end(self, box: Mailbox) -> None:
        """Nothing is left to do."""


def _identities(client: IMAPClient, count: int) -> Iterator[Identity]:
    client.use_uid = False
    try:
        for numbers in numbers_of(count):
            for facts in client.fetch(numbers, ["INTERNALDATE", _ITEM]).values():
                head = facts.get(b"BODY[HEADER.FIELDS (MESSAGE-ID)]") or b""
                yield _named(head), int(facts[b"INTERNALDATE"].timestamp())
    finally:
        client.use_uid = True


async def _identity(one: Outgoing) -> Identity:
    stop = len(one.stored.prefix) + one.stored.header_size
    head = await one.store.read(one.stored, 0, min(stop, one.entry.size))
    return _named(head), int(one.entry.internaldate)


def _named(head: bytes) -> bytes:
    match = _MESSAGE_ID.search(head)
    return match[1].strip() if match else b""
