"""App passwords, send-as grants and blocks by the API."""

from __future__ import annotations

import time

import pytest

from libs.common.db.schema import block
from tests.integration.api.world import World


async def test_an_app_password_is_shown_once_and_revoked(world: World) -> None:
    where = f"/v1/accounts/{world.ours.account}/app-passwords"
    async with world.client(world.ours.keys["account"]) as client:
        refused = await client.post(where, json={"name": "laptop"})
    async with world.client(world.ours.keys["domain-admin"]) as client:
        made = await client.post(where, json={"name": "laptop", "scopes": ["imap"]})
        twice = await client.post(where, json={"name": "laptop"})
        late = await client.post(where, json={"name": "late", "expires_at": time.time() - 1})
        listed = (await client.get(where)).json()
        gone = await client.delete(f"{where}/laptop")
        again = await client.delete(f"{where}/laptop")
    shown = {item["name"]: item for item in listed}

    assert refused.status_code == 403
    assert made.status_code == 201
    assert len(made.json()["secret"].replace("-", "")) == 25
    assert shown["laptop"]["scopes"] == ["imap"]
    assert all("secret" not in item for item in listed)
    assert (twice.status_code, late.status_code) == (409, 422)
    assert (gone.status_code, again.status_code) == (204, 404)


async def test_owners_keep_their_own_app_passwords(world: World) -> None:
    async with world.client(world.ours.keys["account"]) as client:
        made = await client.post("/v1/self/app-passwords", json={"name": "watch"})
        names = [item["name"] for item in (await client.get("/v1/self/app-passwords")).json()]
        gone = await client.delete("/v1/self/app-passwords/watch")

    assert made.status_code == 201
    assert names == [world.ours.device, "watch"]
    assert gone.status_code == 204


async def test_an_admin_does_not_enter_by_an_app_password_who_may_do_more(world: World) -> None:
    where = f"/v1/accounts/boss@{world.ours.domain}"
    async with world.client(world.ours.keys["domain-admin"]) as client:
        made = await client.post(f"{where}/app-passwords", json={"name": "mine"})
        granted = await client.post(f"{where}/send-as", json={"address": f"x@{world.ours.domain}"})

    assert (made.status_code, granted.status_code) == (403, 403)


@pytest.mark.parametrize(
    ("granted", "status"),
    [
        ("info@ours.test", 201),
        ("*@ours.test", 201),
        ("info@theirs.test", 404),
        ("*@theirs.test", 404),
        ("x@elsewhere.example", 404),
        ("*", 422),
        ("a b@ours.test", 422),
    ],
)
async def test_a_grant_is_of_the_own_tenants_domains(
    world: World, granted: str, status: int
) -> None:
    where = f"/v1/accounts/{world.ours.account}/send-as"
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        answer = await client.post(where, json={"address": granted})
        listed = [item["address"] for item in (await client.get(where)).json()]
        removed = await client.delete(f"{where}/{granted}")
    async with world.root as client:
        foreign = await client.post(where, json={"address": "info@theirs.test"})

    assert answer.status_code == status
    assert (granted in listed) == (status == 201)
    assert removed.status_code == (204 if status == 201 else 404)
    assert foreign.status_code == 404


async def test_blocks_are_seen_and_removed_by_who_may(world: World) -> None:
    key = "auth:ip/192.0.2.7"
    async with world.platform.database.transaction() as transaction:
        row = {"key": key, "reason": "failed logins", "created_at": 1.0, "until": 1e12}
        await transaction.insert(block, [row])
    async with world.client(world.ours.keys["domain-admin"]) as client:
        seen = [item["key"] for item in (await client.get("/v1/blocks")).json()["items"]]
        foreign = await client.delete("/v1/blocks", params={"key": key})
        own = await client.delete("/v1/blocks", params={"key": world.ours.block})
    async with world.root as client:
        everything = [item["key"] for item in (await client.get("/v1/blocks")).json()["items"]]
        removed = await client.delete("/v1/blocks", params={"key": key})

    assert seen == [world.ours.block]
    assert (foreign.status_code, own.status_code) == (404, 204)
    assert everything == [world.theirs.block, key]
    assert removed.status_code == 204


async def test_what_a_tenant_may_send_is_set_by_the_platform(world: World) -> None:
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        refused = await client.patch("/v1/tenants/ours", json={"messages_per_hour": 0})
    async with world.root as client:
        changed = await client.patch("/v1/tenants/ours", json={"recipients_per_day": 500})
        wrong = await client.patch("/v1/tenants/ours", json={"messages_per_hour": -1})

    assert refused.status_code == 403
    assert changed.json()["recipients_per_day"] == 500
    assert wrong.status_code == 422
