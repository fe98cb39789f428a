"""TLS as the policy of a domain has it (I18)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from libs.common.db.schema import deferred
from libs.common.jobs import Envelope, Recipient
from services.platform import Platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import (
    put,
    relaying,
    rows,
    states,
    stored,
)


async def test_tls_is_used_when_it_is_offered(platform: Platform, host: Host) -> None:
    host.script.tls = server_tls()
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert host.taken[0].tls
    assert [line for line in host.lines if line.startswith("EHLO")] == [
        "EHLO mail.example.test"
    ] * 2


async def test_plain_text_is_used_when_tls_fails(platform: Platform, host: Host) -> None:
    """Opportunistic: a broken certificate of theirs must not hold up mail."""
    host.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert not host.taken[0].tls


@pytest.mark.parametrize("level", ["encrypt", "verify"])
async def test_without_the_tls_that_is_required_nothing_is_sent(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch, level: str
) -> None:
    """Whoever strips STARTTLS from the answers on the way must gain nothing by it."""
    environment.setenv("HOLUB_RELAY_TLS", f"other.test={level}")
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert "does not offer STARTTLS" in (await rows(platform, deferred))[0].last_reply
    assert not any(line.startswith("MAIL") for line in host.lines)


async def test_a_certificate_that_nobody_vouches_for_is_refused_where_names_are_verified(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_TLS", "*=verify")
    host.script.tls = server_tls(trustme.CA())
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert "TLS failed" in (await rows(platform, deferred))[0].last_reply
    assert not host.taken


@pytest.mark.parametrize(("name", "state"), [("127.0.0.1", "relayed"), ("mx.test", "deferred")])
async def test_the_name_in_the_certificate_counts(
    platform: Platform,
    host: Host,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    state: str,
) -> None:
    environment.setenv("HOLUB_RELAY_TLS", "*=verify")
    environment.setenv("HOLUB_RELAY_TLS_AUTHORITIES", str(tmp_path / "ca.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    host.script.tls = server_tls(authority, name)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: state}


@pytest.mark.parametrize(("extension", "state"), [("REQUIRETLS", "relayed"), ("DSN", "bounced")])
async def test_requiretls_needs_a_proven_host_that_knows_it(
    platform: Platform,
    host: Host,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    extension: str,
    state: str,
) -> None:
    environment.setenv("HOLUB_RELAY_TLS_AUTHORITIES", str(tmp_path / "ca.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    host.script.tls = server_tls(authority, "127.0.0.1")
    host.script.extensions = ("PIPELINING", extension)
    envelope = Envelope("alice@example.test", (Recipient(0, "a@other.test"),), requiretls=True)
    job = await stored(platform, "a@other.test", envelope=envelope)

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: state}

    assert all(taken.mail.endswith("REQUIRETLS") for taken in host.taken)


def server_tls(authority: trustme.CA | None = None, name: str = "mx.other.test") -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority or trustme.CA()).issue_cert(name).configure_cert(context)
    return context
