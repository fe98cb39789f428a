"""The way to a domain by its DNS: knot has the zones, unbound answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.common.db.schema import deferred, outcome
from libs.common.runtime.settings import PlatformSettings
from services.platform import Platform, open_platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import CONTENT, eventually, put, relaying, rows, states, stored
from tests.servers.dns import Dns
from tests.servers.schema import at_head

FAR = "plain.test"


@pytest.fixture
async def platform(tmp_path: Path, dns: Dns) -> AsyncIterator[Platform]:
    settings = PlatformSettings(
        database_url=f"sqlite:///{tmp_path}/holub.db",
        queue_url=f"sqlite:///{tmp_path}/queue.db",
        blob_url=f"file:{tmp_path}/blobs",
        dns_servers=dns.servers,
        drain_seconds=2,
    )
    async with open_platform(settings) as opened:
        await at_head(opened.database)
        yield opened


@pytest.fixture(autouse=True)
def by_mx(environment: pytest.MonkeyPatch, host: Host, dns: Dns) -> Iterator[pytest.MonkeyPatch]:
    environment.delenv("HOLUB_RELAY_NEXT_HOP")
    environment.setenv("HOLUB_RELAY_PORT", str(host.port))
    environment.setenv("HOLUB_RELAY_ALLOW_PRIVATE", "true")
    # The zones are shared with other tests, which may have left something else there.
    _as_usual(dns)
    yield environment
    _as_usual(dns)


def _as_usual(dns: Dns) -> None:
    dns.set(FAR, "MX", [f"10 mx.{FAR}."])
    dns.set(f"mx.{FAR}", "A", ["127.0.0.1"])


async def test_mail_goes_where_the_mx_record_says(platform: Platform, host: Host) -> None:
    job = await stored(platform, f"bob@{FAR}", domain=FAR)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert host.taken[0].recipients == (f"bob@{FAR}",)
    assert host.taken[0].content.endswith(CONTENT)
    assert f"mx.{FAR}" in (await rows(platform, outcome))[0].detail


async def test_a_host_that_is_away_is_passed_over_for_the_next(
    platform: Platform, host: Host, dns: Dns
) -> None:
    dns.set(FAR, "MX", [f"10 away.{FAR}.", f"20 mx.{FAR}."])
    dns.set(f"away.{FAR}", "A", ["127.0.0.99"])
    job = await stored(platform, f"bob@{FAR}", domain=FAR)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert len(host.taken) == 1


async def test_a_null_mx_bounces_at_once(platform: Platform, host: Host, dns: Dns) -> None:
    dns.set(FAR, "MX", ["0 ."])
    job = await stored(platform, f"bob@{FAR}", domain=FAR)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "bounced"}

    assert "null MX" in (await rows(platform, outcome))[0].detail
    assert host.connections == 0


async def test_a_domain_that_does_not_exist_bounces_at_once(platform: Platform) -> None:
    job = await stored(platform, "bob@misspelt.plain.test", domain="misspelt.plain.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "bounced"}


async def test_an_answer_that_fails_validation_defers(platform: Platform) -> None:
    job = await stored(platform, "bob@bogus.test", domain="bogus.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert "DNS" in (await rows(platform, deferred))[0].last_reply


async def test_a_private_address_is_refused_by_default(
    platform: Platform, host: Host, by_mx: pytest.MonkeyPatch
) -> None:
    by_mx.delenv("HOLUB_RELAY_ALLOW_PRIVATE")
    job = await stored(platform, f"bob@{FAR}", domain=FAR)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "bounced"}

    assert host.connections == 0


async def test_two_domains_of_one_host_share_its_connection(
    platform: Platform, host: Host, dns: Dns
) -> None:
    dns.set("signed.test", "MX", [f"10 mx.{FAR}."])
    jobs = [
        await stored(platform, f"bob@{domain}", domain=domain) for domain in (FAR, "signed.test")
    ]

    async with relaying(platform):
        for count, job in enumerate(jobs, 1):
            await put(platform, job)
            await eventually(lambda count=count: delivered(platform, count))

    dns.set("signed.test", "MX", ["10 mx.signed.test."])
    assert len(host.taken) == 2
    assert host.connections == 1


async def delivered(platform: Platform, count: int) -> bool:
    return len(await rows(platform, outcome)) == count
