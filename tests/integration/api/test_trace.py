"""Where is my mail?  Found by what people remember, told in words, and to nobody else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from libs.common.trace import TraceRow, write_trace
from tests.integration.api.world import World, add_mail


async def found(client: Any, **query: str) -> list[str]:
    answer = await client.get("/v1/trace", params=query)
    assert answer.status_code == 200, answer.text
    return [item["mail_id"] for item in answer.json()["items"]]


async def test_a_message_is_found_by_everything_people_remember_of_it(world: World) -> None:
    database = world.platform.database
    mail_id = await add_mail(
        database, "Anna@ours.test", sender="me@there.example", subject="Invoice 42 for you"
    )
    await add_mail(database, "bert@ours.test")

    async with world.root as client:
        for query in (
            {"q": mail_id},
            {"q": mail_id.upper()},
            {"q": f"<{mail_id}@elsewhere.example>"},
            {"message_id": f"{mail_id}@elsewhere.example"},
            {"q": "me@there.example"},
            {"sender": "me@THERE.example"},
            {"q": "invoice 42"},
            {"subject": "INVOICE"},
            {"recipient": "Anna@ours.test", "sender": "me@there.example"},
            {"address": "Anna@ours.test", "state": "delivered"},
        ):
            assert await found(client, **query) == [mail_id], query
        assert await found(client, q="invoice 43") == []
        assert await found(client, sender="me@there.example", state="bounced") == []


async def test_time_bounds_what_is_found(world: World) -> None:
    now = time.time()
    mail_id = await add_mail(world.platform.database, "time@ours.test")

    async with world.root as client:
        about = {"recipient": "time@ours.test"}
        assert await found(client, **about, since=str(now - 60)) == [mail_id]
        assert await found(client, **about, since=str(now + 60)) == []
        assert await found(client, **about, until=str(now - 60)) == []


@pytest.mark.parametrize("state", ["delivered", "quarantined", "bounced"])
async def test_messages_are_found_by_state(world: World, state: str) -> None:
    mail_id = await add_mail(
        world.platform.database, "s@ours.test", state=state, held=state == "quarantined"
    )

    async with world.root as client:
        assert mail_id in await found(client, state=state)
        assert mail_id not in await found(client, state="discarded")


async def test_pages_of_messages_go_on_newest_first(world: World) -> None:
    made = [await add_mail(world.platform.database, "page@ours.test") for _ in range(7)]

    async with world.root as client:
        seen: list[str] = []
        cursor = ""
        while True:
            answer = await client.get(
                "/v1/trace",
                params={"recipient": "page@ours.test", "limit": "3", "cursor": cursor},
            )
            seen += [item["mail_id"] for item in answer.json()["items"]]
            if not (cursor := answer.json()["next"]):
                break

    assert seen == made[::-1]


async def test_recipients_of_other_tenants_are_not_named(world: World) -> None:
    """One message to both tenants: each side is told of its own recipients only."""
    mail_id = await add_mail(world.platform.database, "anna@ours.test", "boss@theirs.test")

    for role in ("tenant-admin", "domain-admin", "support", "account"):
        async with world.client(world.ours.keys[role]) as client:
            story = await client.get(f"/v1/trace/{mail_id}")
            listed = await client.get("/v1/trace?recipient=anna@ours.test")
            foreign = await client.get("/v1/trace?recipient=boss@theirs.test")
        assert story.status_code == 200
        assert [item["recipient"] for item in story.json()["recipients"]] == ["anna@ours.test"]
        for answer in (story, listed):
            assert "theirs" not in answer.text, answer.text
        assert all("boss@theirs.test" not in i["recipients"] for i in foreign.json()["items"])


async def test_a_forged_sender_shows_nothing_and_a_login_shows_all(world: World) -> None:
    database = world.platform.database
    forged = await add_mail(database, "boss@theirs.test", sender="anna@ours.test")
    sent = await add_mail(
        database, "boss@theirs.test", sender="anna@ours.test", login="anna@ours.test"
    )

    async with world.client(world.ours.keys["account"]) as client:
        assert (await client.get(f"/v1/trace/{forged}")).status_code == 404
        story = (await client.get(f"/v1/trace/{sent}")).json()
        assert await found(client, sender="anna@ours.test") == [sent]
    assert [item["recipient"] for item in story["recipients"]] == ["boss@theirs.test"]


async def test_the_story_says_in_words_what_happened_and_what_to_do(world: World) -> None:
    async with world.client(world.ours.keys["support"]) as client:
        story = (await client.get(f"/v1/trace/{world.ours.mail_id}")).json()

    words = " ".join(story["explanation"])
    assert "We took responsibility for it" in words
    assert "anna@ours.test: It is held in quarantine" in words
    assert "holub quarantine list" in words


async def test_a_refusal_before_the_content_is_found_too(world: World) -> None:
    database = world.platform.database
    async with database.transaction() as transaction:
        row = TraceRow(
            "01a00000-0000-7000-8000-000000000000",
            "ingress",
            "refused",
            recipient="nobody@ours.test",
            why="550 5.1.1 no such user",
        )
        await write_trace(transaction, [row])

    async with world.client(world.ours.keys["support"]) as client:
        assert await found(client, recipient="nobody@ours.test") == [row.mail_id]
        story = (await client.get(f"/v1/trace/{row.mail_id}")).json()
    assert "no such user" in story["explanation"][0]


async def test_a_follower_sees_each_new_step_of_its_own_once(world: World) -> None:
    from libs.common.admin.keys import principal_of_key
    from libs.common.admin.trace import Follower

    database = world.platform.database
    who = await principal_of_key(database, world.ours.keys["support"], "")
    assert who
    follower = Follower(database, who)

    assert await follower.look() == []
    await add_mail(database, "new@ours.test", "new@theirs.test")
    assert [step["recipient"] for step in await follower.look()] == ["new@ours.test"]
    assert await follower.look() == []
