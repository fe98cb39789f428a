"""Expunged mail is listed and put back by API and console."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update

from libs.common.db.schema import account, audit, recoverable
from tests.integration.api.world import PASSWORD, Side, World, add_mail


async def expunged(world: World, side: Side, *mailboxes: str, days: float = 1) -> list[int]:
    """One message each, as an EXPUNGE leaves it; the ids."""
    database, now = world.platform.database, time.time()
    ids = []
    for name in mailboxes:
        mail_id = await add_mail(database, side.account, subject=f"of {name}")
        async with database.transaction() as transaction:
            query = select(account.c.id).where(account.c.address == side.account)
            row = {
                "account_id": await transaction.scalar(query),
                "mailbox": name,
                "uid": 7,
                "mail_id": mail_id,
                "flags": 0,
                "keywords": "",
                "internaldate": now,
                "size": 10,
                "prefix": "",
                "expunged_at": now,
                "expires_at": now + days * 86400,
            }
            await transaction.insert(recoverable, [row])
            ids.append(
                await transaction.scalar(select(recoverable.c.id).order_by(-recoverable.c.id))
            )
    return ids


async def holds(world: World, side: Side) -> dict[str, int]:
    async with world.root as client:
        boxes = (await client.get(f"/v1/accounts/{side.account}/mailboxes")).json()
    return {box["name"]: box["messages"] for box in boxes if box["messages"]}


def path(side: Side) -> str:
    return f"/v1/accounts/{side.account}/recoverable"


async def test_what_was_expunged_comes_back_once_and_is_audited(world: World) -> None:
    first, second, _ = await expunged(world, world.ours, "INBOX", "Gone/Below", "Archive")
    async with world.client(world.ours.keys["domain-admin"]) as client:
        page = (await client.get(f"{path(world.ours)}?limit=2")).json()
        rest = (await client.get(f"{path(world.ours)}?cursor={page['next']}")).json()
        done = await client.post(f"{path(world.ours)}/restore", json={"ids": [first, second]})
        again = await client.post(f"{path(world.ours)}/restore", json={"ids": [first, second]})

    found = [item["subject"] for item in page["items"] + rest["items"]]
    assert found == ["of Archive", "of Gone/Below", "of INBOX"]
    assert done.json() == {
        "messages": 2,
        "mailboxes": [{"name": "Gone/Below", "messages": 1}, {"name": "INBOX", "messages": 1}],
    }
    assert again.json() == {"messages": 0, "mailboxes": []}
    assert await holds(world, world.ours) == {"INBOX": 1, "Gone/Below": 1}
    async with world.platform.database.reading() as transaction:
        query = select(audit.c.action, audit.c.object).order_by(audit.c.id.desc())
        assert tuple(await transaction.one_or_none(query)) == (
            "mailbox.restore",
            world.ours.account,
        )


async def test_all_of_a_mailbox_or_of_the_last_hours_comes_back(world: World) -> None:
    ids = await expunged(world, world.ours, "INBOX", "INBOX", "Archive")
    async with world.platform.database.transaction() as transaction:
        old = update(recoverable).where(recoverable.c.id == ids[0])
        await transaction.execute(old.values(expunged_at=time.time() - 7200))
    async with world.client(world.ours.keys["account"]) as client:
        recent = await client.post(
            "/v1/self/recoverable/restore", json={"mailbox": "INBOX", "hours": 1}
        )
        left = (await client.get("/v1/self/recoverable")).json()["items"]
        whole = await client.post("/v1/self/recoverable/restore", json={"mailbox": "INBOX"})

    assert recent.json()["messages"] == 1
    assert sorted(item["mailbox"] for item in left) == ["Archive", "INBOX"]
    assert whole.json()["messages"] == 1


async def test_others_ids_expired_mail_and_a_full_account_bring_nothing(world: World) -> None:
    (theirs,) = await expunged(world, world.theirs, "INBOX")
    (late,) = await expunged(world, world.ours, "INBOX", days=-1)
    (ours,) = await expunged(world, world.ours, "INBOX")
    async with world.client(world.ours.keys["account"]) as client:
        url = "/v1/self/recoverable/restore"
        foreign = await client.post(url, json={"ids": [theirs, late]})
        nothing = await client.post(url, json={})
        await _limit(world, 1)
        full = await client.post(url, json={"ids": [ours]})

    assert foreign.json()["messages"] == 0
    assert (nothing.status_code, full.status_code) == (422, 422)
    assert "name ids, a mailbox, or hours" in nothing.text
    assert "make room" in full.text
    assert await holds(world, world.ours) == {}


async def _limit(world: World, octets: int) -> None:
    async with world.platform.database.transaction() as transaction:
        mine = update(account).where(account.c.address == world.ours.account)
        await transaction.execute(mine.values(quota_octets=octets))


async def test_the_console_lists_it_and_puts_it_back(world: World) -> None:
    await expunged(world, world.ours, "INBOX")
    here = {"origin": "http://holub.test"}
    async with world.client() as client:
        form: dict[str, Any] = {"address": world.ours.account, "password": PASSWORD}
        await client.post("/login", data=form, headers=here)
        page = await client.get(f"/deleted/{world.ours.account}")
        other = await client.get(f"/deleted/{world.theirs.account}")
        done = await client.post(
            f"/deleted/{world.ours.account}", data={"hours": "24"}, headers=here
        )
        wrong = await client.post(
            f"/deleted/{world.ours.account}", data={"hours": "x"}, headers=here
        )

    assert "of INBOX" in page.text
    assert other.status_code == 403
    assert (done.status_code, wrong.status_code) == (303, 422)
    assert await holds(world, world.ours) == {"INBOX": 1}
