"""A mailbox goes in and out by HTTP as an mbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import select, update

from libs.common.db.schema import account, audit
from tests.integration.api.world import World

MBOX = {"Content-Type": "application/mbox"}


async def stream(mbox: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(mbox), 1000):
        yield mbox[at : at + 1000]


async def put(client: Any, address: str, mbox: bytes, **query: str) -> Any:
    url = f"/v1/accounts/{address}/mail"
    return await client.post(url, params=query, content=stream(mbox), headers=MBOX)


async def test_an_mbox_goes_in_once_and_comes_out_again(world: World) -> None:
    one = b"From ann@other.test Mon Jan  5 10:00:00 2026\nStatus: RO\nSubject: %d\n\nhello\n\n"
    mbox = b"".join(one % n for n in range(300))
    address = world.ours.account
    async with world.client(world.ours.keys["domain-admin"]) as client:
        first = await put(client, address, mbox, mailbox="Old/2019")
        second = await put(client, address, mbox, mailbox="Old/2019")
        answer = await client.get(f"/v1/accounts/{address}/mail", params={"mailbox": "Old/2019"})
        back = await put(client, address, answer.content, mailbox="Copy")
        copied = await client.get(f"/v1/accounts/{address}/mail", params={"mailbox": "Copy"})

    assert first.json() == {"messages": 300, "known": 0, "problems": []}
    assert second.json() == {"messages": 0, "known": 300, "problems": []}
    assert answer.headers["content-type"] == "application/mbox"
    assert answer.content.count(b"Status: RO\nX-UID: ") == 300
    assert back.json()["messages"] == 300
    # The same but for the UIDVALIDITY of another mailbox.
    assert copied.content.split(b"\n")[2:] == answer.content.split(b"\n")[2:]
    async with world.platform.database.reading() as transaction:
        query = select(audit.c.action, audit.c.object, audit.c.detail).order_by(-audit.c.id)
        row = await transaction.one_or_none(query)
    assert tuple(row) == ("mail.export", address, '{"mailbox":"Copy"}')


async def test_what_cannot_be_taken_in_says_why(world: World) -> None:
    address = world.ours.account
    full = update(account).where(account.c.address == address).values(quota_messages=1)
    one = b"From a Mon Jan  5 10:00:00 2026\n\nx\n\n"
    async with world.client(world.ours.keys["domain-admin"]) as client:
        text = await put(client, address, b"Subject: x\n\n")
        name = await put(client, address, one, mailbox="a//b")
        kind = await client.post(f"/v1/accounts/{address}/mail", content=one)
        async with world.platform.database.transaction() as transaction:
            await transaction.execute(full)
        room = await put(client, address, one * 3)
        missing = await client.get(f"/v1/accounts/{address}/mail", params={"mailbox": "Nope"})

    assert [a.status_code for a in (text, name, kind, room, missing)] == [422, 422, 415, 422, 404]
    assert "does not begin with a `From ` line" in text.text
    assert "needs text at every level" in name.text
    assert "raise its quota" in room.text


async def test_support_and_lesser_roles_read_nobodys_mail(world: World) -> None:
    boss = f"/v1/accounts/boss@{world.ours.domain}/mail"
    async with world.client(world.ours.keys["support"]) as client:
        support = await client.get(f"/v1/accounts/{world.ours.account}/mail")
    async with world.client(world.ours.keys["domain-admin"]) as client:
        lesser = await client.get(boss)
    async with world.client(world.ours.keys["account"]) as client:
        own = await client.get("/v1/self/mail")

    assert (support.status_code, lesser.status_code, own.status_code) == (403, 403, 200)
