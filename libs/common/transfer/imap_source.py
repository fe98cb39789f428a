"""The mail of an account on another server, which is left as it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imapclient import IMAPClient

from libs.common.blobstore.spool import SpoolFile
from libs.common.mailstore.folders import SPECIAL_USES
from libs.common.transfer.files import BLOCK, content_of
from libs.common.transfer.imap_account import AT_ONCE, Account, Names, all_uids
from libs.common.transfer.letter import (
    MAX_OCTETS,
    Folder,
    Known,
    Letter,
    Progress,
    flags_of,
    key_of,
)

_MESSAGES, _OCTETS = 50, 4 * 1024 * 1024
"""Of one FETCH of contents."""
_UNSELECTABLE = {b"\\noselect", b"\\nonexistent"}
Facts = Mapping[bytes, Any]


@dataclass(frozen=True, slots=True)
class _Message:
    key: str
    uid: int
    facts: Facts

    @property
    def size(self) -> int:
        return int(self.facts.get(b"RFC822.SIZE", 0))


class ImapSource:
    """Reads by BODY.PEEK in mailboxes that are selected read-only."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._names: dict[str, str] = {}

    async def folders(self) -> list[Folder]:
        """All mailboxes of his own that can be selected."""
        return await self._account.do(self._folders)

    def _folders(self, client: IMAPClient) -> list[Folder]:
        names = Names.of(client)
        subscribed = {name for _, _, name in client.list_sub_folders()}
        uses = {use.lower().encode(): use for use in SPECIAL_USES}
        found = []
        for flags, _, name in client.list_folders():
            lower = {flag.lower() for flag in flags}
            here = names.here(name)
            if not here or lower & _UNSELECTABLE or here in self._names:
                continue
            self._names[here] = name
            use = next((uses[flag] for flag in lower if flag in uses), "")
            status = client.folder_status(name, ["UIDVALIDITY"])
            found.append(Folder(here, status.get(b"UIDVALIDITY", 0), use, name in subscribed))
        return found

    async def letters(
        self, folder: Folder, known: Known, progress: Progress
    ) -> AsyncGenerator[Letter, None]:
        """By UID."""
        name = self._names[folder.name]
        uids = await self._account.do(lambda client: _select(client, name))
        progress.total += len(uids)
        at = self._account.address
        for start in range(0, len(uids), AT_ONCE):
            facts = await self._account.do(_facts(uids[start : start + AT_ONCE]))
            messages = {
                (key := key_of("imap", at.host, at.user, name, folder.uidvalidity, uid)): _Message(
                    key, uid, facts[uid]
                )
                for uid in sorted(facts)
            }
            there = await known(messages)
            progress.known += len(there)
            new = [m for m in messages.values() if m.key not in there]
            for group in _groups(new):
                async for letter in self._contents(folder, group, progress):
                    yield letter

    async def _contents(
        self, folder: Folder, group: Sequence[_Message], progress: Progress
    ) -> AsyncGenerator[Letter, None]:
        if group[0].size > MAX_OCTETS:
            progress.problems.append(f"{folder.name}: UID {group[0].uid} is too large")
        elif group[0].size > _OCTETS:
            yield _letter(group[0], await self._large(group[0]))
        else:
            uids = [message.uid for message in group]
            found = await self._account.do(lambda c: c.fetch(uids, ["BODY.PEEK[]"]))
            for message in group:
                content = found.get(message.uid, {}).get(b"BODY[]")
                if content is None:
                    progress.problems.append(f"{folder.name}: UID {message.uid} was not given")
                else:
                    yield _letter(message, content)

    async def _large(self, message: _Message) -> bytes | SpoolFile:
        """Piece by piece, so that it is never in memory."""
        spool = SpoolFile()
        try:
            while block := await self._account.do(_piece(message.uid, spool.size)):
                await spool.write(block)
                if len(block) < BLOCK or spool.size > MAX_OCTETS:
                    break
            return await content_of(spool)
        except BaseException:
            spool.close()
            raise


def _select(client: IMAPClient, name: str) -> list[int]:
    return all_uids(client, client.select_folder(name, readonly=True)[b"EXISTS"])


def _facts(uids: Sequence[int]) -> Any:
    items = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
    wanted = set(uids)

    def work(client: IMAPClient) -> dict[int, Facts]:
        found = client.fetch(uids, items)
        return {uid: facts for uid, facts in found.items() if uid in wanted}

    return work


def _piece(uid: int, start: int) -> Any:
    def work(client: IMAPClient) -> bytes:
        found = client.fetch([uid], [f"BODY.PEEK[]<{start}.{BLOCK}>"]).get(uid, {})
        return bytes(found.get(b"BODY[]<%d>" % start) or b"")

    return work


def _groups(messages: Sequence[_Message]) -> Iterator[list[_Message]]:
    """What is asked for together; what is large comes alone."""
    group: list[_Message] = []
    octets = 0
    for message in messages:
        if group and (len(group) >= _MESSAGES or octets + message.size > _OCTETS):
            yield group
            group, octets = [], 0
        group.append(message)
        octets += message.size
    if group:
        yield group


def _letter(message: _Message, content: bytes | SpoolFile) -> Letter:
    names = [flag.decode("ascii", "replace") for flag in message.facts.get(b"FLAGS", ())]
    flags, keywords = flags_of(names)
    date = message.facts.get(b"INTERNALDATE")
    at = date.timestamp() if date else None
    return Letter(message.key, content, flags, keywords, at, message.uid)
