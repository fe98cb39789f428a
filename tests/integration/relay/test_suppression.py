"""Recipients that took no mail: counted, bounced untried, tried again later."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update

from libs.common.accounts.registry import AlreadyExists, NotFound, create_domain
from libs.common.admin import suppressions
from libs.common.admin.principal import Principal, Role, local_operator
from libs.common.blobstore.protocol import BlobRef
from libs.common.db import Database
from libs.common.db.schema import outbox, outcome, suppression
from libs.common.jobs import Client, Envelope, FilterJob, Recipient, RecordHeader, RelayJob, decode
from services.platform import Platform
from services.relay.claim import Claim, Unit
from services.relay.suppression import HardBounce, note_bounces, without_suppressed
from tests.integration.relay.host import Host
from tests.integration.relay.mail import eventually, put, relaying, rows, stored

ROOT = local_operator("test")


async def sent(platform: Platform, address: str, count: int) -> str:
    """Send one more message; what became of it, when so many in all are at their end."""
    job = await stored(platform, address)

    async def state() -> str:
        found = {row.mail_id: row for row in await rows(platform, outcome)}
        return found[job.header.mail_id].state if len(found) == count else ""

    async with relaying(platform):
        await put(platform, job)
        return str(await eventually(state))


async def test_whoever_was_refused_for_good_again_and_again_is_not_tried_any_more(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_SUPPRESS_AFTER", "2")
    host.script.rcpt = lambda address: "550 5.1.1 no such user"
    assert await sent(platform, "Nobody@other.test", 1) == "bounced"
    assert await sent(platform, "nobody@other.test", 2) == "bounced"
    lines = len(host.lines)

    assert await sent(platform, "nobody@OTHER.test", 3) == "bounced"

    assert host.lines[lines:] == []
    last = decode((await rows(platform, outbox))[-1].body, FilterJob)
    content = (await platform.blobs.read(last.blob)).content
    assert b"took no mail 2 times" in content.replace(b"\r\n ", b" ")
    (row,) = await rows(platform, suppression)
    assert (row.address, row.reason, row.bounces) == ("nobody@other.test", "no_mailbox", 2)
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(suppression).values(expires_at=1.0))
    host.script.rcpt = lambda address: "250 2.1.5 OK"
    assert await sent(platform, "nobody@other.test", 4) == "relayed"


async def test_what_may_pass_the_next_time_is_not_counted(platform: Platform, host: Host) -> None:
    host.script.rcpt = lambda address: "550 5.2.2 mailbox full"

    assert await sent(platform, "bob@other.test", 1) == "bounced"

    assert await rows(platform, suppression) == []


async def test_of_one_message_only_the_recipient_on_the_list_is_bounced(
    platform: Platform, host: Host
) -> None:
    await suppressions.add_suppression(platform.database, ROOT, "bob@other.test", days=1)
    job = await stored(platform, "bob@other.test", "eve@other.test")
    # A forward of a stranger's mail: a bounce of ours might go to nobody who wrote.
    strangers = await stored(platform, "bob@other.test", client=Client("192.0.2.1"))

    async with relaying(platform):
        await put(platform, job)
        await eventually(lambda: ended(platform, 2))
        await put(platform, strangers)
        await eventually(lambda: ended(platform, 3))

    ours = [row for row in await rows(platform, outcome) if row.mail_id == job.header.mail_id]
    found = {row.recipient: row.state for row in ours}
    assert found == {"bob@other.test": "bounced", "eve@other.test": "relayed"}
    assert [taken.recipients for taken in host.taken] == [("eve@other.test",), ("bob@other.test",)]


async def ended(platform: Platform, count: int) -> bool:
    return len(await rows(platform, outcome)) == count


def claim(*addresses: str, tenant: int = 1) -> Claim:
    recipients = tuple(Recipient(n, address) for n, address in enumerate(addresses))
    envelope = Envelope("alice@example.test", recipients)
    header = RecordHeader("m", 1.0, envelope, client=Client("", account=1), tenant=tenant)
    ns = tuple(range(len(addresses)))
    job = RelayJob(BlobRef("s", 0, 1), header, 1, "other.test", ns)
    return Claim(job, tuple(Unit("m", n, 1) for n in ns))


async def test_counts_last_and_expire_on_both_dialects(database: Database) -> None:
    now = time.time()
    bob, eve = (HardBounce(1, f"{who}@other.test", "no_mailbox", "why") for who in ("Bob", "eve"))

    async def orders(after: int, at: float, tenant: int = 1) -> list[int]:
        asked = [claim("bob@other.test", "eve@other.test", tenant=tenant)]
        async with database.reading() as transaction:
            (found,) = await without_suppressed(transaction, asked, after, at)
        return sorted(found.untried)

    async with database.transaction() as transaction:
        await note_bounces(transaction, [bob, bob, eve], now, 100)
        await note_bounces(transaction, [bob], now + 50, 100)
        await note_bounces(transaction, [], now, 100)

    assert await orders(2, now + 60) == [0]
    assert await orders(1, now + 60) == [0, 1]
    assert await orders(1, now + 120) == [0]
    assert await orders(0, now + 60) == []
    assert await orders(1, now + 60, tenant=2) == []
    async with database.transaction() as transaction:
        await note_bounces(transaction, [bob], now + 200, 100)
        (row,) = await transaction.rows(select(suppression))
    assert (row.address, row.bounces) == ("bob@other.test", 1)


async def test_an_administrators_entry_counts_at_once_and_stays_as_it_is(
    database: Database,
) -> None:
    await create_domain(database, "example.test")
    other = Principal("t", Role.TENANT, tenant_id=2)
    now = time.time()

    async def bounces() -> None:
        async with database.transaction() as transaction:
            counted = HardBounce(1, "bob@other.test", "no_mailbox", "why")
            await note_bounces(transaction, [counted], now, 100)

    await bounces()
    await suppressions.add_suppression(database, ROOT, "BOB@other.test", days=1, detail="asked us")
    await bounces()

    (entry,), _ = await suppressions.list_suppressions(database, ROOT, search="Bob")
    assert (entry["reason"], entry["detail"]) == ("manual", "asked us")
    assert (entry["bounces"], entry["tenant"]) == (0, "default")
    async with database.reading() as transaction:
        (found,) = await without_suppressed(transaction, [claim("bob@other.test")], 0, now)
    assert "administrator" in found.untried[0].text
    assert (await suppressions.list_suppressions(database, other))[0] == []
    with pytest.raises(NotFound):
        await suppressions.remove_suppression(database, other, "bob@other.test")
    with pytest.raises(AlreadyExists):
        await suppressions.add_suppression(database, ROOT, "bob@other.test", days=1)
    await suppressions.remove_suppression(database, ROOT, "Bob@other.test")
    assert (await suppressions.list_suppressions(database, ROOT))[0] == []
