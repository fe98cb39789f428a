"""Mail leaves signed: the keys are in a zone of knot, our verifier and dkimpy read them there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dkim as dkimpy
import dns.resolver
import pytest
from sqlalchemy import delete, select, update

from libs.common.admin import dkim, domains
from libs.common.admin.doctor.records import quoted
from libs.common.admin.principal import local_operator
from libs.common.db.schema import deferred, dkim_key, tenant
from libs.common.dns import open_resolver
from libs.common.jobs import Client
from libs.common.runtime.settings import PlatformSettings
from libs.common.senderauth import SignedMessage, verify_dkim
from services.platform import Platform, open_platform
from services.relay.key_keeper import KeyKeeper
from services.relay.settings import RelaySettings
from tests.integration.relay.host import Host
from tests.integration.relay.mail import put, relaying, rows, states, stored
from tests.servers.dns import Dns
from tests.servers.schema import at_head

ROOT, DOMAIN = local_operator("test"), "signed.test"
MAIL = (
    b"From: Alice <alice@signed.test>\r\nTo: bob@other.test\r\nSubject: hello\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@signed.test>\r\n"
    b"List-Unsubscribe: <https://signed.test/u?1>,\r\n <mailto:u@signed.test>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n.dot\r\ntext \t here \r\n\r\n\r\n"
)
BOTH = ["rsa-sha256", "ed25519-sha256"]


def settings_of(folder: Path, dns_servers: str, **more: Any) -> PlatformSettings:
    return PlatformSettings(
        database_url=f"sqlite:///{folder}/holub.db",
        queue_url=f"sqlite:///{folder}/queue.db",
        blob_url=f"file:{folder}/blobs",
        dns_servers=dns_servers,
        drain_seconds=2,
        **more,
    )


@pytest.fixture
async def platform(tmp_path: Path, dns: Dns) -> AsyncIterator[Platform]:
    async with open_platform(settings_of(tmp_path, dns.servers)) as opened:
        await at_head(opened.database)
        await domains.create_domain(
            opened.database, ROOT, DOMAIN, sealer=await opened.sealer(), tenant_name=""
        )
        yield opened


@pytest.fixture
def published(dns: Dns) -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        dns.set(name, "TXT", [])


async def publish(platform: Platform, dns: Dns, published: list[str]) -> None:
    for key in await dkim.list_keys(platform.database, ROOT, DOMAIN):
        if key["state"] == "new":
            published.append(key["name"])
            dns.set(key["name"], "TXT", [quoted(key["record"])])


async def keep(platform: Platform, **settings: Any) -> dict[str, list[str]]:
    """One round of the keeper: the selectors in each state."""
    resolver = open_resolver(platform.settings.dns_servers)
    given: dict[str, Any] = {"dkim_wait_seconds": 0, **settings}
    keeper = KeyKeeper(platform.database, await platform.sealer(), resolver, RelaySettings(**given))
    await keeper.round()
    await resolver.close()
    found: dict[str, list[str]] = {}
    for key in await dkim.list_keys(platform.database, ROOT, DOMAIN):
        found.setdefault(key["state"], []).append(key["selector"])
    return found


async def send(platform: Platform, host: Host, content: bytes = MAIL, **fields: Any) -> bytes:
    before = len(host.taken)
    job = await stored(platform, "bob@other.test", content=content, **fields)
    async with relaying(platform):
        await put(platform, job)
        while len(host.taken) == before:
            await asyncio.sleep(0.02)
    # What is stored is what was received.
    assert (await platform.blobs.read(job.blob)).content == content
    return host.taken[-1].content


async def ours(dns: Dns, content: bytes) -> list[tuple[str, str, str]]:
    resolver = open_resolver(dns.servers)
    results = await verify_dkim(SignedMessage(content), resolver, int(time.time()))
    await resolver.close()
    return [(r.word, r.domain, r.algorithm) for r in results]


def theirs(dns_server: Dns, content: bytes) -> list[bool]:
    """What dkimpy says of each signature."""
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port = ["127.0.0.1"], dns_server.port

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        return b"".join(asking.resolve(name.decode(), "TXT")[0].strings)

    message = dkimpy.DKIM(content)
    count = content.lower().split(b"\r\n\r\n")[0].count(b"dkim-signature:")
    return [message.verify(n, dnsfunc=look_up) for n in range(count)]


async def test_two_verifiers_agree_on_what_leaves(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    assert len((await keep(platform))["signing"]) == 2

    content = await send(platform, host)

    assert await ours(dns, content) == [("pass", DOMAIN, kind) for kind in BOTH]
    assert theirs(dns, content) == [True, True]
    assert content.startswith(b"DKIM-Signature:")
    assert content.endswith(MAIL)
    for line in (b"Subject: mine\r\n", b"From: eve@signed.test\r\n", b"Reply-To: eve@x.test\r\n"):
        # Every field that people see is named once more than it is there.
        assert {word for word, _, _ in await ours(dns, line + content)} == {"fail"}


async def test_what_was_made_7_bit_for_a_host_is_signed_as_that_host_gets_it(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    await keep(platform)
    host.script.extensions = ("PIPELINING",)
    mime = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    content = mime + MAIL + "gr\u00fc\u00dfe\r\n".encode()

    taken = await send(platform, host, content)

    assert taken.isascii()
    assert [word for word, _, _ in await ours(dns, taken)] == ["pass", "pass"]
    assert theirs(dns, taken) == [True, True]


async def test_bare_line_ends_and_content_in_many_blocks_are_signed_as_they_leave(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    await keep(platform)
    bare = MAIL + b"bare\nand\rmore  \n" + b"x" * 900 + b"\r\n" * 3
    large = MAIL + (b"some  words \t of a line\r\n" * 60_000) + b"\r\n\r\nno end"

    for content in (bare, large):
        taken = await send_changed(platform, host, content)
        assert [word for word, _, _ in await ours(dns, taken)] == ["pass", "pass"]
        assert theirs(dns, taken) == [True, True]


async def send_changed(platform: Platform, host: Host, content: bytes) -> bytes:
    before = len(host.taken)
    async with relaying(platform):
        await put(platform, await stored(platform, "bob@other.test", content=content))
        while len(host.taken) == before:
            await asyncio.sleep(0.02)
    return host.taken[-1].content


async def test_nothing_is_signed_that_others_sent_or_before_dns_shows_the_key(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    assert b"DKIM-Signature" not in await send(platform, host)
    await publish(platform, dns, published)
    await keep(platform)

    stranger = await send(platform, host, client=Client("192.0.2.9", helo="mx.other.test"))

    assert b"DKIM-Signature" not in stranger


async def test_a_domain_of_another_tenant_in_from_is_not_vouched_for(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    await keep(platform)
    async with platform.database.transaction() as transaction:
        now = time.time()
        await transaction.insert(tenant, [{"name": "else", "created_at": now}])
        number = await transaction.scalar(select(tenant.c.id).where(tenant.c.name == "else"))

    assert b"DKIM-Signature" not in await send(platform, host, tenant=int(number))


async def test_a_new_key_is_published_waited_for_used_and_the_old_one_retired(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    first = (await keep(platform))["signing"]
    sealer = await platform.sealer()
    for kind in BOTH:
        await dkim.add_keys(
            platform.database, ROOT, DOMAIN, sealer, algorithms=[kind], selector=f"next-{kind[:2]}"
        )

    assert await keep(platform) == {"signing": first, "new": ["next-rs", "next-ed"]}
    assert first[0].encode() in await send(platform, host)
    await publish(platform, dns, published)
    # Seen, but not for long enough.
    assert await keep(platform, dkim_wait_seconds=900) == {
        "signing": first,
        "new": ["next-rs", "next-ed"],
    }
    assert await keep(platform) == {"retiring": first, "signing": ["next-rs", "next-ed"]}
    content = await send(platform, host)
    assert b"s=next-rs;" in content
    assert theirs(dns, content) == [True, True]
    assert await keep(platform, dkim_retire_seconds=0) == {
        "retired": first,
        "signing": ["next-rs", "next-ed"],
    }
    private = {row.selector: row.private_key for row in await rows(platform, dkim_key)}
    assert [private[name] for name in first] == [b"", b""]


async def test_a_domain_without_keys_or_with_old_ones_is_given_new_ones(
    platform: Platform,
) -> None:
    async with platform.database.transaction() as transaction:
        await transaction.execute(delete(dkim_key))
    assert len((await keep(platform))["new"]) == 2
    async with platform.database.transaction() as transaction:
        old = {"created_at": 0.0, "state": "signing", "selector": "old" + dkim_key.c.algorithm}
        await transaction.execute(update(dkim_key).values(**old))

    assert set(await keep(platform)) == {"signing"}
    assert len((await keep(platform, dkim_rotate_days=180))["new"]) == 2
    assert len((await keep(platform, dkim_rotate_days=180))["new"]) == 2


async def test_mail_waits_while_its_key_cannot_be_opened(
    platform: Platform, host: Host, tmp_path: Path
) -> None:
    name = (await dkim.list_keys(platform.database, ROOT, DOMAIN))[0]["selector"]
    await dkim.activate(platform.database, ROOT, DOMAIN, name)
    async with platform.database.transaction() as transaction:
        await transaction.execute(update(dkim_key).values(private_key=b"sealed by nobody known"))

    async with relaying(platform):
        await put(platform, await stored(platform, "bob@other.test", content=MAIL))
        assert await states(platform, 1) == {0: "deferred"}

    reply = (await rows(platform, deferred))[0].last_reply
    assert f"DKIM key {name} of {DOMAIN}" in reply
    assert host.taken == []


async def test_a_message_without_from_goes_as_it_is(
    platform: Platform, host: Host, dns: Dns, published: list[str]
) -> None:
    await publish(platform, dns, published)
    await keep(platform)
    job = await stored(platform, "bob@other.test", content=b"Subject: x\r\n\r\nx\r\n")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert b"DKIM-Signature" not in host.taken[0].content
