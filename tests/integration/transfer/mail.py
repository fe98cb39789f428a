"""Mail that is hard to keep, and what an account holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from libs.common.mailstore import AppendItem, MailStore
from libs.common.transfer import Progress
from tests.integration.mailstore.room import Room

HEAD = b"From: ann@other.test\r\nSubject: x\r\nMessage-ID: <%d@other.test>\r\n\r\n"
CONTENTS = [
    HEAD % 0 + b"plain\r\n",
    HEAD % 1 + b"\r\nFrom here\r\n>From there\r\n\r\nFrom a Mon Jan  5 10:00:00 2026\r\n\r\n",
    HEAD % 2 + b"no end of line",
    HEAD % 3 + b"bare\nends\n and\r\r\nodd\rones",
    b"Status: RO\r\nX-UID: 77\r\n" + HEAD % 4 + b"its own fields\r\n",
    HEAD % 5 + b"x" * 70 + b"\r\n" + b"y" * 1_100_000 + b"\r\nFrom z\r\n",
    b"Subject: no body at all",
    b"\n\n",
]
NAMES = ("INBOX", "../etc", "A.b/100%2E %25.", "Entwürfe & mehr")
Held = dict[str, tuple[int, list[tuple[int, int, str, int, bytes]]]]


async def fill(room: Room) -> None:
    """Alice has these messages in each of these mailboxes, with gaps between UIDs."""
    for number, name in enumerate(NAMES):
        if name != "INBOX":
            await room.store.create(room.alice, name)
        await room.store.adopt(room.alice, name, 1_600_000_000 - number)
        items = [
            AppendItem(
                content, n % 32, "$Forwarded work" if n % 3 else "", 1767607200.0 + n * 86400
            )
            for n, content in enumerate(CONTENTS if number < 2 else CONTENTS[:2])
        ]
        _, uids = await room.store.append(room.alice, name, [items[0], *items])
        box = await room.box(name)
        await room.store.remove(room.alice, box.id, uids[:1])


async def held(room: Room, account_id: int) -> Held:
    """By mailbox: UIDVALIDITY, and (UID, flags, keywords, date, octets) of each message."""
    found: Held = {}
    for box in await room.store.mailboxes(account_id):
        page = await room.store.page(box.id, 0, 1000)
        messages = [
            (
                e.uid,
                e.flags,
                e.keywords,
                int(e.internaldate),
                await room.store.read(s, 0, e.size),
            )
            for e, s in page
        ]
        if messages:
            found[box.name] = (box.uidvalidity, messages)
    return found


async def run(steps: AsyncIterator[Progress], stop_after: int = 0) -> Progress:
    """Run to the end, or break it off after so many steps."""
    last, count = Progress(), 0
    async with aclosing(steps) as running:  # type: ignore[type-var]
        async for step in running:
            last, count = step, count + 1
            if count == stop_after:
                break
    return last


async def append(store: MailStore, account_id: int, contents: list[bytes]) -> None:
    """Small messages into INBOX."""
    items = [AppendItem(content, 0, "", 1767607200.0) for content in contents]
    await store.append(account_id, "INBOX", items)
