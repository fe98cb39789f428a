"""The matrix: every operation of the API, asked by everybody who must not have an answer.

It is generated from the routes, so an operation that is added is asked too.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import update

from libs.common.admin import keys
from libs.common.admin.principal import PERMISSIONS, Principal, Role
from libs.common.db.schema import api_key
from services.api.access import Allow
from services.api.routes import RESOURCES
from tests.integration.api.world import ROOT, Side, World, snapshot

ROLES = ("tenant-admin", "domain-admin", "support", "account")


def operations() -> list[tuple[str, str, str]]:
    """(method, path below /v1, permission) of every operation there is."""
    found = []
    for router in RESOURCES:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            needs = [
                d.call.permission for d in route.dependant.dependencies if isinstance(d.call, Allow)
            ]
            assert len(needs) == 1, f"{route.path} must name exactly one permission"
            found += [(method, route.path, needs[0]) for method in sorted(route.methods or ())]
    return sorted(found)


OPERATIONS = operations()
MBOX = b"From ann@elsewhere.example Mon Jan  5 10:00:00 2026\nSubject: hello\n\nhello\n\n"
# What the body of each operation with one needs to be valid.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/tenants"): lambda side: {"name": "fresh"},
    ("POST", "/domains"): lambda side: {"name": f"new.{side.domain}", "tenant": side.name},
    ("PATCH", "/tenants/{name}"): lambda side: {"messages_per_hour": 1},
    ("PATCH", "/domains/{name}"): lambda side: {"enabled": False},
    ("POST", "/domains/{name}/dkim"): lambda side: {"algorithms": ["ed25519-sha256"]},
    ("POST", "/accounts"): lambda side: {
        "address": f"fresh@{side.domain}",
        "password": "long enough",
    },
    ("PATCH", "/accounts/{address}"): lambda side: {"name": "changed"},
    ("POST", "/accounts/{address}/app-passwords"): lambda side: {"name": "fresh"},
    ("POST", "/accounts/{address}/send-as"): lambda side: {"address": f"x@{side.domain}"},
    ("POST", "/aliases"): lambda side: {
        "address": f"fresh@{side.domain}",
        "targets": [side.account],
    },
    ("PUT", "/aliases/{address}"): lambda side: {"targets": ["x@elsewhere.example"]},
    ("PUT", "/accounts/{address}/scripts/{script:path}"): lambda side: {"content": "discard;"},
    ("PATCH", "/accounts/{address}/scripts/{script:path}"): lambda side: {"active": False},
    ("POST", "/rescans"): lambda side: {"since": 1, "tenant": side.name, "dry_run": True},
    ("POST", "/quarantine/{mail_id}/release"): lambda side: {"recipients": [0]},
    ("POST", "/accounts/{address}/recoverable/restore"): lambda side: {"mailbox": "INBOX"},
    ("POST", "/self/recoverable/restore"): lambda side: {"mailbox": "INBOX"},
    ("PATCH", "/self"): lambda side: {"name": "changed"},
    ("POST", "/self/app-passwords"): lambda side: {"name": "fresh"},
    ("POST", "/suppressions"): lambda side: {
        "address": "fresh@elsewhere.example",
        "tenant": side.name,
    },
    ("POST", "/queue/cancel"): lambda side: {
        "mail_id": side.queued,
        "recipient": "x1@elsewhere.example",
    },
    ("POST", "/queue/hold"): lambda side: {"mail_id": side.queued},
    ("POST", "/queue/release"): lambda side: {"mail_id": side.queued},
    ("POST", "/queue/retry"): lambda side: {"sender": side.account},
    ("POST", "/keys"): lambda side: {
        "name": "fresh",
        "role": "support",
        "tenant": side.name,
        "scopes": ["trace:read"],
    },
}


def path_of(path: str, side: Side, world: World) -> str:
    """The path with the names of one side in it."""
    if path.startswith("/queue/"):
        return path.replace("{mail_id}", side.queued).replace("{n}", "0")
    if path.startswith("/suppressions"):
        return path.replace("{address}", side.gone)
    if path.startswith("/parked"):
        return path.replace("{id}", str(world.parked))
    if path.startswith("/rescans"):
        return path.replace("{id}", str(side.rescan))
    names = {
        "{name}": side.name if path.startswith("/tenants") else side.domain,
        "{address}": side.alias if path.startswith("/aliases") else side.account,
        "{id}": str(side.key_ids["support"]),
        "{mail_id}": side.mail_id,
        "{selector}": "s1",
        "{n}": "0",
        "{device}": side.device,
        "{granted}": side.granted,
    }
    names |= {"{kind}": "accounts", "{script:path}": "main"}
    for placeholder, value in names.items():
        path = path.replace(placeholder, value)
    assert "{" not in path, f"the matrix has no value for {path}"
    return path


async def ask(client: Any, method: str, path: str, side: Side, world: World) -> Any:
    """One request for what belongs to `side`."""
    body = BODIES.get((method, path))
    free = any(word in path for word in ("{id}/", "{selector}/")) or path.startswith("/import")
    free = free or path.endswith("/mail")
    if method in ("POST", "PUT", "PATCH") and not free:
        assert body, f"the matrix has no body for {method} {path}"
    if path.startswith("/import"):
        row = {"address": f"fresh@{side.domain}", "password": "long enough"}
        kind = {"Content-Type": "application/x-ndjson"}
        url = f"/v1{path_of(path, side, world)}"
        return await client.request(method, url, content=json.dumps(row), headers=kind)
    if path.endswith("/mail") and method == "POST":
        kind = {"Content-Type": "application/mbox"}
        url = f"/v1{path_of(path, side, world)}"
        return await client.post(url, content=MBOX, headers=kind)
    query = "?reason=because" if path == "/parked/{id}" and method == "DELETE" else ""
    query = f"?key={quote(side.block)}" if path == "/blocks" and method == "DELETE" else query
    url = f"/v1{path_of(path, side, world)}{query}"
    return await client.request(method, url, json=body(side) if body else None)


def skipped(method: str, path: str, role: str) -> bool:
    """What has no end, and what is one's own by definition or needs an account."""
    own = path.startswith("/self") and (method != "GET" or role != "account")
    return path.endswith("/follow") or (own and path != "/self") or (own and method != "GET")


async def test_nobody_without_a_valid_key_gets_anything(world: World) -> None:
    database = world.platform.database
    revoked = await keys.create_key(database, ROOT, "revoked")
    await keys.revoke_key(database, ROOT, revoked["id"])
    expired = await keys.create_key(database, ROOT, "expired")
    async with database.transaction() as transaction:
        late = update(api_key).where(api_key.c.id == expired["id"])
        await transaction.execute(late.values(expires_at=time.time() - 1))
    elsewhere = await keys.create_key(database, ROOT, "net", networks=("198.51.100.0/24",))
    before = await snapshot(database)

    for key in ("", "holub_key_wrong", revoked["key"], expired["key"], elsewhere["key"]):
        async with world.client(key) as client:
            for method, path, _ in OPERATIONS:
                answer = await ask(client, method, path, world.theirs, world)
                assert answer.status_code == 401, (method, path, key)
                assert "theirs" not in answer.text

    assert await snapshot(database) == before


@pytest.mark.parametrize("role", ROLES)
async def test_what_is_another_tenants_is_neither_shown_nor_changed(
    world: World, role: str
) -> None:
    """Foreign things look as if they were not there (404), whatever the role."""
    database = world.platform.database
    before = await snapshot(database)

    async with world.client(world.ours.keys[role]) as client:
        for method, path, permission in OPERATIONS:
            if skipped(method, path, role):
                continue
            answer = await ask(client, method, path, world.theirs, world)
            leak = answer.text.replace("there is no", "")
            if Role(role) and permission not in PERMISSIONS[Role(role)]:
                assert answer.status_code == 403, (method, path, answer.text)
            elif path.startswith("/import"):
                last = json.loads(answer.text.splitlines()[-1])
                assert last["errors"][0]["rule"].startswith("there is no domain")
            elif "{" in path or method != "GET":
                assert answer.status_code in (403, 404), (method, path, answer.text)
            else:
                assert answer.status_code == 200, (method, path, answer.text)
                assert "theirs" not in leak, (method, path, answer.text)

    assert await snapshot(database) == before


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_gets_what_its_permissions_say_and_nothing_more(
    world: World, role: str
) -> None:
    async with world.client(world.ours.keys[role]) as client:
        for method, path, permission in OPERATIONS:
            if skipped(method, path, role) or method == "DELETE":
                continue
            answer = await ask(client, method, path, world.ours, world)
            allowed = permission in PERMISSIONS[Role(role)]
            if allowed:
                assert answer.status_code < 300, (method, path, answer.text)
            else:
                assert answer.status_code == 403, (method, path, answer.text)


@pytest.mark.parametrize("permission", sorted({p for _, _, p in OPERATIONS}))
async def test_a_scope_narrows_a_key_to_just_that(world: World, permission: str) -> None:
    key = await keys.create_key(world.platform.database, ROOT, "narrow", scopes=(permission,))

    async with world.client(key["key"]) as client:
        for method, path, needs in OPERATIONS:
            if needs != permission:
                answer = await ask(client, method, path, world.theirs, world)
                assert answer.status_code == 403, (method, path, answer.text)


async def test_nobody_makes_a_key_that_may_more_than_himself(world: World) -> None:
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        for body in (
            {"name": "x", "role": "platform-admin"},
            {"name": "x", "role": "support", "tenant": "theirs"},
            {"name": "x", "role": "domain-admin", "domains": ["theirs.test"]},
            {"name": "x", "role": "account", "account": "anna@theirs.test"},
        ):
            answer = await client.post("/v1/keys", json=body)
            assert answer.status_code in (403, 404), (body, answer.text)
    database = world.platform.database
    narrow = await keys.create_key(
        database, ROOT, "narrow", role=Role.TENANT, tenant_name="ours", scopes=("keys:*",)
    )
    async with world.client(narrow["key"]) as client:
        answer = await client.post("/v1/keys", json={"name": "x", "role": "tenant-admin"})
        assert answer.status_code == 403


async def test_a_lesser_role_takes_over_nobody_who_may_more(world: World) -> None:
    boss = f"/v1/accounts/boss@{world.ours.domain}"
    async with world.client(world.ours.keys["domain-admin"]) as client:
        for method, body in (("PATCH", {"password": "mine now, thanks"}), ("DELETE", None)):
            answer = await client.request(method, boss, json=body)
            assert answer.status_code == 403, answer.text
        redirect = {"content": 'redirect "me@elsewhere.example";', "active": True}
        taken = await client.put(f"{boss}/scripts/main", json=redirect)
        assert taken.status_code == 403, taken.text
        own = f"/v1/accounts/{world.ours.account}"
        raised = await client.patch(own, json={"role": "tenant-admin"})
        assert raised.status_code == 403


def test_only_platform_roles_are_everywhere() -> None:
    for role in Role:
        assert not Principal("x", role, tenant_id=1).everywhere
    for role in (Role.TENANT, Role.DOMAIN, Role.ACCOUNT):
        assert not Principal("x", role).everywhere
