"""Bulk import: all lines are checked first, then chunks; a dry run changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.api.world import HASH, World, snapshot


async def send(client: Any, kind: str, body: str, media: str, **query: str) -> list[dict[str, Any]]:
    answer = await client.post(
        f"/v1/import/{kind}", content=body, params=query, headers={"Content-Type": media}
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def lines(count: int, domain: str = "ours.test") -> str:
    rows = ({"address": f"u{n}@{domain}", "password_hash": HASH} for n in range(count))
    return "\n".join(map(json.dumps, rows))


async def test_accounts_of_a_file_are_there_and_can_be_used(world: World) -> None:
    async with world.client(world.ours.keys["domain-admin"]) as client:
        progress = await send(client, "accounts", lines(2500), "application/x-ndjson")
        boxes = (await client.get("/v1/accounts/u2499@ours.test/mailboxes")).json()

    assert [item["done"] for item in progress] == [0, 1000, 2000, 2500, 2500]
    assert progress[-1]["created"] == 2500
    assert {box["name"] for box in boxes} >= {"INBOX", "Sent", "Junk", "Trash"}


async def test_a_dry_run_tells_all_and_changes_nothing(world: World) -> None:
    before = await snapshot(world.platform.database)

    async with world.client(world.ours.keys["domain-admin"]) as client:
        progress = await send(client, "accounts", lines(3), "application/x-ndjson", dry_run="true")

    assert (progress[-1]["created"], progress[-1]["errors"]) == (3, [])
    assert await snapshot(world.platform.database) == before


async def test_one_wrong_line_stops_all_and_is_named(world: World) -> None:
    body = "\n".join(
        [
            '{"address": "good@ours.test", "password": "long enough"}',
            '{"address": "bad", "password": "long enough"}',
            '{"address": "short@ours.test", "password": "x"}',
            '{"address": "x@ours.test", "password": "long enough", "colour": "red"}',
            '{"address": "good@ours.test", "password": "long enough"}',
            '{"address": "x@theirs.test", "password": "long enough"}',
            '{"address": "boss2@ours.test", "password": "long enough", "role": "tenant-admin"}',
        ]
    )
    before = await snapshot(world.platform.database)

    async with world.client(world.ours.keys["domain-admin"]) as client:
        last = (await send(client, "accounts", body, "application/x-ndjson"))[-1]

    named = [error["field"] for error in last["errors"]]
    assert named == [
        "line 2: address",
        "line 3: password",
        "line 4: colour",
        "line 5: address",
        "line 7: role",
        "line 6: address",
    ]
    assert await snapshot(world.platform.database) == before


async def test_what_is_there_is_an_error_or_skipped(world: World) -> None:
    body = f"{lines(2)}\n" + json.dumps({"address": "anna@ours.test", "password_hash": HASH})

    async with world.client(world.ours.keys["domain-admin"]) as client:
        refused = (await send(client, "accounts", body, "application/x-ndjson"))[-1]
        skipped = (
            await send(client, "accounts", body, "application/x-ndjson", skip_existing="true")
        )[-1]

    assert refused["errors"][0]["rule"] == "anna@ours.test exists already"
    assert (skipped["created"], skipped["skipped"], skipped["errors"]) == (2, 1, [])


async def test_aliases_come_as_csv(world: World) -> None:
    body = "address,targets\ninfo@ours.test,anna@ours.test x@elsewhere.example\n"

    async with world.client(world.ours.keys["domain-admin"]) as client:
        last = (await send(client, "aliases", body, "text/csv"))[-1]
        found = (await client.get("/v1/aliases/info@ours.test")).json()

    assert last["created"] == 1
    assert found["targets"] == ["anna@ours.test", "x@elsewhere.example"]


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("text/csv", "\ufeffaddress\n\x00"),
        ("text/csv", 'address,name\n"a'),
        ("application/x-ndjson", "{"),
        ("application/x-ndjson", "[]"),
        ("application/x-ndjson", '{"address": 1}'),
        ("application/x-ndjson", '{"address": "a@ours.test", "quota_octets": true}'),
    ],
)
async def test_a_broken_file_is_an_error_of_a_line(world: World, media: str, body: str) -> None:
    async with world.root as client:
        last = (await send(client, "accounts", body, media))[-1]

    assert last["errors"]
    assert last["created"] == 0


async def test_another_media_type_is_refused(world: World) -> None:
    async with world.root as client:
        answer = await client.post("/v1/import/accounts", json={})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (415, "Content-Type")
