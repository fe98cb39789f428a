"""What all operations share: pages, conditions, repeated requests, errors, and the audit."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from libs.common.admin import audit
from libs.common.db.schema import account, api_key, idempotency, outcome, parked, session
from libs.common.db.schema import audit as audit_table
from tests.integration.api.world import ROOT, World, add_mail


async def test_pages_give_each_item_once_while_others_are_added(world: World) -> None:
    async with world.root as client:
        for n in range(7):
            await client.post("/v1/domains", json={"name": f"d{n}.test"})
        seen, cursor = [], ""
        while True:
            page = (await client.get(f"/v1/domains?limit=2&cursor={cursor}")).json()
            seen += [item["name"] for item in page["items"]]
            await client.post("/v1/domains", json={"name": f"a{len(seen)}.test"})
            if not (cursor := page["next"]):
                break

    assert [name for name in seen if name.startswith("d")] == [f"d{n}.test" for n in range(7)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("cursor", ["x", "WzFd", "WyJhIiwiYiJd", "bnVsbA", "W251bGxd"])
async def test_a_cursor_that_is_not_ours_is_refused_by_name(world: World, cursor: str) -> None:
    async with world.root as client:
        answer = await client.get(f"/v1/domains?cursor={cursor}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


async def test_a_change_of_what_was_changed_meanwhile_is_refused(world: World) -> None:
    path = f"/v1/domains/{world.ours.domain}"
    async with world.root as client:
        seen = (await client.get(path)).headers["etag"]
        first = await client.patch(path, json={"enabled": False}, headers={"If-Match": seen})
        second = await client.patch(path, json={"enabled": True}, headers={"If-Match": seen})
        removed = await client.delete(path, headers={"If-Match": seen})
        now = (await client.get(path)).json()

    assert (first.status_code, second.status_code, removed.status_code) == (200, 412, 412)
    assert now["enabled"] is False


async def test_what_the_client_has_already_is_not_sent_again(world: World) -> None:
    path = f"/v1/domains/{world.ours.domain}"
    async with world.root as client:
        tag = (await client.get(path)).headers["etag"]
        again = await client.get(path, headers={"If-None-Match": tag})

    assert (again.status_code, again.content) == (304, b"")


async def test_a_repeated_post_is_done_once_and_answered_alike(world: World) -> None:
    body = {"name": "backup", "role": "support"}
    async with world.root as client:
        first, second = [
            await client.post("/v1/keys", json=body, headers={"Idempotency-Key": "0123456789"})
            for _ in range(2)
        ]
        other = await client.post(
            "/v1/keys", json={**body, "name": "x"}, headers={"Idempotency-Key": "0123456789"}
        )
        listed = (await client.get("/v1/keys")).json()["items"]

    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert [item["name"] for item in listed].count("backup") == 1
    async with world.platform.database.reading() as transaction:
        kept = await transaction.scalar(select(idempotency.c.answer))
        assert first.json()["key"].encode() not in kept


async def test_a_failed_post_may_be_tried_again_with_the_same_key(world: World) -> None:
    once = {"Idempotency-Key": "0123456789"}
    body = {"name": "late.test", "tenant": "late"}
    async with world.root as client:
        early = await client.post("/v1/domains", json=body, headers=once)
        await client.post("/v1/tenants", json={"name": "late"})
        again = await client.post("/v1/domains", json=body, headers=once)

    assert (early.status_code, again.status_code) == (404, 201)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/domains", {"name": "x.test", "nam": 1}, "nam"),
        ("POST", "/v1/domains", {"name": "not a domain"}, "domain"),
        ("POST", "/v1/accounts", {"address": "a@b.test", "password": "short"}, "password"),
        ("POST", "/v1/accounts", {"address": "a@b.test", "password": "long enough"}, "address"),
        ("POST", "/v1/aliases", {"address": "a@ours.test", "targets": ["x"]}, "targets"),
        ("GET", "/v1/accounts?domian=x", None, "domian"),
        ("GET", "/v1/accounts?limit=0", None, "limit"),
        ("GET", "/v1/accounts?search=%00", None, "search"),
        ("GET", "/v1/trace?state=lost", None, "state"),
        ("POST", "/v1/keys", {"name": "x", "role": "support", "scopes": ["keys:write"]}, "scopes"),
        ("POST", "/v1/keys", {"name": "x", "role": "support", "networks": ["300.1"]}, "networks"),
        ("POST", "/v1/keys", {"name": "x", "role": "support", "expires_at": 1}, "expires_at"),
        ("DELETE", "/v1/parked/1?reason=x", None, "reason"),
    ],
)
async def test_an_error_names_the_field_and_the_rule(
    world: World, method: str, path: str, body: object, field: str
) -> None:
    async with world.root as client:
        answer = await client.request(method, path, json=body)

    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["rule"]


async def test_text_that_cannot_be_stored_is_refused(world: World) -> None:
    async with world.root as client:
        for text in ('"a\\u0000b"', '"a\\ud800b"'):
            raw = f'{{"name": {text}, "role": "support"}}'
            answer = await client.post(
                "/v1/keys", content=raw, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/domains"),
        # Nor may a resource that happens to be named so bring as much as an mbox.
        ("PATCH", "/v1/domains/mail"),
        ("PATCH", "/v1/accounts/mail"),
        ("PUT", "/v1/aliases/mail"),
        ("PATCH", "/v1/self/mail"),
        ("POST", "/v1/accounts/x/y/mail"),
    ],
)
async def test_a_body_over_the_limit_is_refused(world: World, method: str, path: str) -> None:
    async with world.root as client:
        answer = await client.request(method, path, content=b"x" * (1 << 20 | 1))

    assert answer.status_code in (413, 404, 405)
    assert answer.status_code == 413 or path.endswith(("/y/mail", "/self/mail"))


async def test_a_secret_is_shown_once_and_never_stored(world: World) -> None:
    async with world.root as client:
        made = (await client.post("/v1/keys", json={"name": "x", "role": "support"})).json()
        shown = (await client.get(f"/v1/keys/{made['id']}")).text

    assert made["key"] not in shown
    async with world.platform.database.reading() as transaction:
        assert made["key"] not in repr(await transaction.rows(select(api_key)))


async def test_a_key_is_only_good_from_its_networks(world: World) -> None:
    body = {"name": "x", "role": "support", "networks": ["198.51.100.0/24", "2001:db8::/32"]}
    async with world.root as client:
        key = (await client.post("/v1/keys", json=body)).json()["key"]

    answers = {}
    for address in ("198.51.100.7", "::ffff:198.51.100.7", "2001:db8::1", "203.0.113.1", ""):
        async with world.client(key, address) as client:
            answers[address] = (await client.get("/v1/domains")).status_code
    assert list(answers.values()) == [200, 200, 200, 401, 401]


async def test_every_change_is_in_the_audit_and_no_secret_is(world: World) -> None:
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        await client.patch(
            f"/v1/accounts/{world.ours.account}", json={"password": "new and secret"}
        )
        entries = (await client.get("/v1/audit")).json()["items"]

    assert (entries[0]["action"], entries[0]["object"]) == ("account.change", "anna@ours.test")
    assert entries[0]["actor"] == "key:ours tenant-admin"
    assert entries[0]["client"] == "192.0.2.1"
    assert "argon2" not in repr(entries)
    assert "new and secret" not in repr(entries)


async def test_the_audit_refuses_change_and_shows_what_was_tampered(world: World) -> None:
    database = world.platform.database
    assert (await audit.verify(database))[1] is None
    for statement in (update(audit_table).values(actor="nobody"), delete(audit_table)):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.transaction() as transaction:
                await transaction.execute(statement)

    async with database.transaction() as transaction:
        await _without_triggers(transaction)
        victim = update(audit_table).where(audit_table.c.id == 3)
        await transaction.execute(victim.values(actor="nobody"))
    async with world.root as client:
        assert (await client.get("/v1/audit/verify")).json()["broken_at"] == 3


async def _without_triggers(transaction: object) -> None:
    from sqlalchemy import text

    drops = ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"]
    if transaction.dialect == "postgresql":  # type: ignore[attr-defined]
        drops = ["DROP TRIGGER audit_append_only ON audit"]
    for drop in drops:
        await transaction.execute(text(drop))  # type: ignore[attr-defined]


async def test_a_parked_job_goes_back_to_its_queue_once(world: World) -> None:
    async with world.root as client:
        shown = (await client.get(f"/v1/parked/{world.parked}")).json()
        done = await client.post(f"/v1/parked/{world.parked}/replay")
        again = await client.post(f"/v1/parked/{world.parked}/replay")

    assert shown["job"] == {"type": "storage"}
    assert (done.status_code, again.status_code) == (200, 404)
    assert (await world.platform.queue.depth("storage")).jobs == 1


async def test_a_dropped_job_leaves_its_recipients_discarded_with_the_reason(
    world: World,
) -> None:
    database = world.platform.database
    body = (
        b'{"type":"storage","mail_id":"m","received_at":1.0,"size":1,"targets":[],'
        b'"addresses":[[0,"anna@ours.test"]]}'
    )
    row = {"queue": "storage", "mail_id": "m", "body": body, "reason": "x", "parked_at": 1.0}
    async with database.transaction() as transaction:
        await transaction.insert(parked, [row])
        number = await transaction.scalar(select(parked.c.id).where(parked.c.mail_id == "m"))

    async with world.root as client:
        answer = await client.delete(f"/v1/parked/{number}?reason=poison")

    assert answer.status_code == 204
    async with database.reading() as transaction:
        found = await transaction.one_or_none(select(outcome).where(outcome.c.mail_id == "m"))
    assert (found.recipient, found.state) == ("anna@ours.test", "discarded")
    assert found.detail == "dropped by key:root: poison"


async def test_a_new_password_ends_the_sessions_of_the_account(world: World) -> None:
    database = world.platform.database
    async with database.transaction() as transaction:
        number = await transaction.scalar(
            select(account.c.id).where(account.c.address == world.ours.account)
        )
        row = {"token_hash": "x", "account_id": number, "created_at": 1.0}
        await transaction.insert(session, [{**row, "expires_at": time.time() + 100}])

    async with world.client(world.ours.keys["account"]) as client:
        wrong = await client.patch("/v1/self", json={"password": "brand new one"})
        right = await client.patch(
            "/v1/self",
            json={"password": "brand new one", "current_password": "correct horse battery"},
        )

    assert (wrong.status_code, right.status_code) == (422, 200)
    async with database.reading() as transaction:
        assert await transaction.scalar(select(session.c.token_hash)) is None


async def test_unaccounted_counts_what_no_row_explains(world: World) -> None:
    database = world.platform.database
    mail_id = await add_mail(database, "anna@ours.test")
    async with database.transaction() as transaction:
        from libs.common.db.schema import message

        await transaction.execute(delete(outcome).where(outcome.c.mail_id == mail_id))
        await transaction.execute(update(message).values(received_at=time.time() - 300))

    async with world.root as client:
        assert (await client.get("/v1/queues/unaccounted")).json() == {"messages": 1}


async def test_root_at_the_machine_needs_no_key(world: World) -> None:
    from services.api.application import make_application

    local = World(
        make_application(world.platform, operator=ROOT),
        world.platform,
        world.ours,
        world.theirs,
        "",
    )

    async with local.client() as client:
        assert (await client.get("/v1/tenants")).status_code == 200


async def test_a_domain_chooses_what_checks_of_strangers_mean(world: World) -> None:
    path = f"/v1/domains/{world.ours.domain}"
    async with world.client(world.ours.keys["tenant-admin"]) as client:
        changed = await client.patch(path, json={"screening": " dnsbl=note , greylist=refuse"})
        wrong = await client.patch(path, json={"screening": "dnsbl=never"})
        back = await client.patch(path, json={"screening": ""})

    assert changed.json()["screening"] == "dnsbl=note,greylist=refuse"
    assert wrong.status_code == 422
    assert "off, note, refuse" in wrong.text
    assert back.json()["screening"] == ""
