"""Logging in, on both dialects: passwords, app passwords, imported hashes, limits."""

from __future__ import annotations

import time

import pytest

from libs.common.accounts import registry
from libs.common.accounts.authenticator import TooManyFailures, WrongCredentials
from libs.common.accounts.exchange import MECHANISMS, offered
from libs.common.accounts.registry import AlreadyExists, RegistryError
from libs.common.admin.app_passwords import (
    create_app_password,
    list_app_passwords,
    revoke_app_password,
)
from libs.common.admin.blocks import list_blocks, remove_block
from libs.common.admin.principal import local_operator
from libs.protocols.sasl.prepare import saslprep
from libs.protocols.sasl.scram import ScramKeys
from tests.integration.accounts.conftest import PASSWORD, Room, from_ip

HERE = from_ip("192.0.2.1")
ROOT = local_operator("test")


async def test_the_right_password_is_the_account(room: Room) -> None:
    found = await room.make().password(f" {room.alice.upper()}", PASSWORD, HERE)

    assert found.address == room.alice


async def test_nobody_and_a_wrong_password_hear_the_same_after_the_same_time(room: Room) -> None:
    authenticator = room.make(failure_seconds=0.5)
    heard = []
    for login in (room.alice, "nobody@nowhere.test"):
        began = time.monotonic()
        with pytest.raises(WrongCredentials) as refused:
            await authenticator.password(login, "wrong", HERE)
        heard.append((str(refused.value), time.monotonic() - began >= 0.5))

    assert heard[0] == heard[1] == ("wrong address or password", True)


async def test_a_suspended_account_hears_the_same(room: Room) -> None:
    await registry.change_account(room.database, room.alice, enabled=False)

    with pytest.raises(WrongCredentials):
        await room.make().password(room.alice, PASSWORD, HERE)


async def test_a_changed_password_is_not_remembered_from_before(room: Room) -> None:
    authenticator = room.make()
    await authenticator.password(room.alice, PASSWORD, HERE)

    new = registry_hash("another horse")
    await registry.change_account(room.database, room.alice, password_hash=new)

    with pytest.raises(WrongCredentials):
        await authenticator.password(room.alice, PASSWORD, HERE)
    assert await authenticator.password(room.alice, "another horse", HERE)


def registry_hash(password: str) -> str:
    from libs.common.accounts.credential import hash_password

    return hash_password(password)


@pytest.mark.parametrize(
    "stored",
    [
        "{SSHA}L5pb+MbFgSqk0mKvduqAvXn7j1bCa0qB",
        "{BLF-CRYPT}$2y$05$507HFsWhU3LtXOhDYFCQweC4nbyOhGAKrwYJU/xkPQM89Wtax.NFy",
        "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB",
        "{PBKDF2}$1$YzFE1c.YUzDcE37u$5000$53b0e49a8254900b33a35f846f14f598485ca86c",
    ],
)
async def test_an_imported_hash_is_taken_and_upgraded_at_login(room: Room, stored: str) -> None:
    await registry.change_account(room.database, room.alice, password_hash=stored)
    with pytest.raises(WrongCredentials):
        await room.make().password(room.alice, "wrong", HERE)
    assert await room.stored() == stored

    await room.make().password(room.alice, PASSWORD, HERE)

    assert (await room.stored()).startswith("$argon2id$")
    assert await room.make().password(room.alice, PASSWORD, HERE)


async def test_scram_is_announced_while_every_account_has_keys(room: Room) -> None:
    """Most clients that see SCRAM try nothing else, so nobody must be without keys."""
    bare = registry_hash(PASSWORD).partition(" ")[0]
    await registry.change_account(room.database, room.alice, password_hash=bare)
    authenticator = room.make()
    await authenticator.start()
    before = offered(authenticator, {})
    await registry.create_accounts(room.database, [f"old.{room.alice}"], bare, enabled=False)

    await authenticator.password(room.alice, PASSWORD, HERE)
    await authenticator.close()
    again = room.make()
    await again.start()
    await again.close()

    assert before == ("PLAIN", "LOGIN")
    assert offered(again, {}) == ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
    assert offered(room.make(scram="always"), {}) == MECHANISMS


@pytest.mark.parametrize("password", [PASSWORD, "pa\u00adss\u2168", "bell\x07"])
async def test_a_new_password_has_scram_keys(room: Room, password: str) -> None:
    await registry.change_account(room.database, room.alice, password_hash=registry_hash(password))

    for name in ("SHA-256", "SHA-1"):
        keys = await room.make().keys(room.alice, name)
        try:
            prepared = saslprep(password).encode()
        except ValueError:
            prepared = password.encode()
        assert ScramKeys.derive(name, prepared, keys.salt) == keys


async def test_an_app_password_opens_what_it_is_for_and_nothing_else(room: Room) -> None:
    made = await create_app_password(room.database, ROOT, room.alice, "telephone", ["imap"])
    secret = made["secret"]
    authenticator = room.make()

    found = await authenticator.password(room.alice, secret, from_ip("192.0.2.1", "imap"))
    spaced = secret.replace("-", " ").upper()
    assert await authenticator.password(room.alice, spaced, from_ip("192.0.2.1", "imap")) == found
    with pytest.raises(WrongCredentials):
        await authenticator.password(room.alice, secret, from_ip("192.0.2.1", "smtp"))
    with pytest.raises(WrongCredentials):
        await authenticator.password("nobody@nowhere.test", secret, HERE)

    (kept,) = await list_app_passwords(room.database, ROOT, room.alice)
    assert (kept["name"], kept["scopes"]) == ("telephone", ["imap"])
    assert kept["last_used_at"] is not None


async def test_a_removed_or_expired_app_password_opens_nothing(room: Room) -> None:
    old = await create_app_password(room.database, ROOT, room.alice, "old")
    short = await create_app_password(
        room.database, ROOT, room.alice, "short", expires_at=time.time() + 0.3
    )
    await revoke_app_password(room.database, ROOT, room.alice, "old")
    time.sleep(0.35)

    for made in (old, short):
        with pytest.raises(WrongCredentials):
            await room.make().password(room.alice, made["secret"], HERE)


async def test_what_is_wrong_with_a_new_app_password_is_named(room: Room) -> None:
    await create_app_password(room.database, ROOT, room.alice, "one")

    with pytest.raises(AlreadyExists):
        await create_app_password(room.database, ROOT, room.alice, "one")
    for name, scopes in (("", ["imap"]), ("x", []), ("x", ["everything"])):
        with pytest.raises(RegistryError):
            await create_app_password(room.database, ROOT, room.alice, name, scopes)


async def test_guessing_blocks_the_address_and_only_for_a_while(room: Room) -> None:
    authenticator = room.make(failures_per_ip=3, block_seconds=0.4)
    guesser = from_ip("198.51.100.7")
    for guess in "abc":
        with pytest.raises(WrongCredentials):
            await authenticator.password(room.alice, guess, guesser)

    with pytest.raises(TooManyFailures):
        await authenticator.password(room.alice, PASSWORD, guesser)
    assert await authenticator.password(room.alice, PASSWORD, HERE)
    time.sleep(0.45)
    assert await authenticator.password(room.alice, PASSWORD, guesser)


async def test_the_same_wrong_password_again_is_one_failure(room: Room) -> None:
    """A telephone that was forgotten must not block an office."""
    authenticator = room.make(failures_per_ip=3)
    for _ in range(10):
        with pytest.raises(WrongCredentials):
            await authenticator.password(room.alice, "last year's", from_ip("198.51.100.8"))

    assert await authenticator.password(room.alice, PASSWORD, from_ip("198.51.100.8"))


async def test_a_64_is_blocked_as_a_whole(room: Room) -> None:
    authenticator = room.make(failures_per_network=4)
    for host in range(4):
        with pytest.raises(WrongCredentials):
            await authenticator.password("x@y.test", str(host), from_ip(f"2001:db8:7:1::{host}"))

    with pytest.raises(TooManyFailures):
        await authenticator.password(room.alice, PASSWORD, from_ip("2001:db8:7:1::ff"))
    assert await authenticator.password(room.alice, PASSWORD, from_ip("2001:db8:7:2::1"))


async def test_a_blocked_account_is_open_to_where_its_owner_was_before(room: Room) -> None:
    authenticator = room.make(failures_per_account=5)
    await authenticator.password(room.alice, PASSWORD, HERE)
    for host in range(5):
        with pytest.raises(WrongCredentials):
            await authenticator.password(room.alice, str(host), from_ip(f"203.0.113.{host}"))

    with pytest.raises(TooManyFailures):
        await authenticator.password(room.alice, PASSWORD, from_ip("203.0.113.99"))
    assert await authenticator.password(room.alice, PASSWORD, HERE)


async def test_replicas_count_together_and_a_block_is_seen_and_removed_everywhere(
    room: Room,
) -> None:
    ip = f"198.51.100.{time.time_ns() % 250}"
    one, two, three = (room.make(failures_per_ip=4) for _ in range(3))
    for authenticator, guess in ((one, "a"), (two, "b"), (one, "c")):
        with pytest.raises(WrongCredentials):
            await authenticator.password(room.alice, guess, from_ip(ip))
        for limits in room.limits:
            await limits.exchange()
    with pytest.raises(WrongCredentials):
        await two.password(room.alice, "d", from_ip(ip))
    for limits in room.limits:
        await limits.exchange()

    with pytest.raises(TooManyFailures):
        await three.password(room.alice, PASSWORD, from_ip(ip))
    found, _ = await list_blocks(room.database, ROOT, limit=1000)
    assert f"auth:ip/{ip}" in [block["key"] for block in found]

    await remove_block(room.database, ROOT, f"auth:ip/{ip}")
    for limits in room.limits:
        await limits.exchange()
    assert await three.password(room.alice, PASSWORD, from_ip(ip))
