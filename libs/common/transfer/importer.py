"""Bringing mail in: batches, each of them one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing

from libs.common.mailstore import AppendItem, Brought, Mailbox, MailStore, MailStoreError
from libs.common.transfer.letter import Folder, Letter, Progress, Source, TransferError

AT_ONCE = 200
"""Messages of one batch."""
_OCTETS = 8 * 1024 * 1024


async def bring(
    store: MailStore, account_id: int, source: Source, only: Sequence[str] = ()
) -> AsyncIterator[Progress]:
    """Bring in all mailboxes of a source, or `only` these; how far it is, after each batch.

    `TransferError` when the account has no room, or the source does not answer.
    """
    folders = [f for f in await source.folders() if not only or f.name in only]
    if missing := sorted(set(only) - {folder.name for folder in folders}):
        raise TransferError(f"there is no mailbox {missing[0]!r} to import")
    progress = Progress()
    # In this order, each of them can have a UIDVALIDITY that none before it had.
    for folder in sorted(folders, key=lambda f: (f.uidvalidity, f.name)):
        progress.mailbox = folder.name
        box = await _mailbox(store, account_id, folder)
        progress.mailboxes += 1
        async for _ in _folder(store, account_id, box, source, folder, progress):
            yield progress
    yield progress


async def _folder(
    store: MailStore,
    account_id: int,
    box: Mailbox,
    source: Source,
    folder: Folder,
    progress: Progress,
) -> AsyncIterator[None]:
    keep_uids = 0 < folder.uidvalidity == box.uidvalidity

    async def known(keys: Iterable[str]) -> set[str]:
        return await store.known_imports(account_id, keys)

    batch: list[Letter] = []
    try:
        async with aclosing(source.letters(folder, known, progress)) as letters:
            async for letter in letters:
                batch.append(letter)
                if len(batch) >= AT_ONCE or sum(one.size for one in batch) >= _OCTETS:
                    await _take(store, account_id, box.id, batch, progress, keep_uids)
                    yield
        if batch:
            await _take(store, account_id, box.id, batch, progress, keep_uids)
            yield
    finally:
        for letter in batch:
            letter.close()


async def _take(
    store: MailStore,
    account_id: int,
    mailbox_id: int,
    batch: list[Letter],
    progress: Progress,
    keep_uids: bool,
) -> None:
    """Append a batch; where the account has no room for all of it, what it has room for."""
    for at_once in (len(batch), 1):
        try:
            for _ in range(0, len(batch), at_once):
                part = batch[:at_once]
                brought = [_brought(letter, keep_uids) for letter in part]
                count = await store.bring_in(account_id, mailbox_id, brought)
                progress.messages += count
                progress.known += len(part) - count
                progress.octets += sum(letter.size for letter in part)
                for letter in part:
                    letter.close()
                del batch[:at_once]
            return
        except MailStoreError as error:
            if error.code != "OVERQUOTA" or at_once == 1:
                raise TransferError(_no_room(error, progress)) from error


def _brought(letter: Letter, keep_uid: bool) -> Brought:
    item = AppendItem(letter.content, letter.flags, letter.keywords, letter.internaldate)
    return Brought(item, letter.key, letter.uid if keep_uid else 0)


def _no_room(error: MailStoreError, progress: Progress) -> str:
    said = f"{progress.mailbox}: {error.text}; {progress.messages} messages came in by this run"
    if error.code != "OVERQUOTA":
        return said
    return f"{said}: raise its quota, then run this again, and it goes on from here"


async def _mailbox(store: MailStore, account_id: int, folder: Folder) -> Mailbox:
    """The mailbox here, made if need be."""
    box = await store.mailbox(account_id, folder.name)
    try:
        if box is None:
            uses = {b.special_use for b in await store.mailboxes(account_id)}
            use = folder.special_use if folder.special_use not in uses else ""
            box = await store.create(account_id, folder.name, use)
            if not folder.subscribed:
                await store.subscribe(account_id, folder.name, False)
    except MailStoreError as error:
        raise TransferError(f"mailbox {folder.name!r}: {error.text}") from error
    if folder.uidvalidity and box.uidvalidity != folder.uidvalidity:
        box = await store.adopt(account_id, box.name, folder.uidvalidity)
    return box
