"""DANE over a signed zone of knot, validated by unbound (RFC 7672, I18)."""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.db.schema import deferred
from libs.common.runtime.settings import PlatformSettings
from services.platform import Platform, open_platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import put, relaying, rows, states, stored
from tests.servers.dns import Dns
from tests.servers.schema import at_head

FAR, MX = "signed.test", "mx.signed.test"


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


@pytest.fixture
def tlsa(environment: pytest.MonkeyPatch, host: Host, dns: Dns) -> Iterator[str]:
    """The owner of TLSA records; they are removed again."""
    environment.delenv("HOLUB_RELAY_NEXT_HOP")
    environment.setenv("HOLUB_RELAY_PORT", str(host.port))
    environment.setenv("HOLUB_RELAY_ALLOW_PRIVATE", "true")
    # The zones are shared with other tests, which may have left something else there.
    dns.set(FAR, "MX", [f"10 {MX}."])
    dns.set(MX, "A", ["127.0.0.1"])
    owner = f"_{host.port}._tcp.{MX}"
    yield owner
    dns.set(owner, "TLSA", [])


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def served(host: Host, authority: trustme.CA, name: str = MX) -> bytes:
    """The host has a certificate of this name now; its DER form."""
    issued = authority.issue_cert(name)
    # An anchor that a record names must be in the chain (RFC 7672 §3.1.2).
    pem = issued.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes()
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem)
        file.flush()
        host.script.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        host.script.tls.load_cert_chain(file.name)
    return x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)


def key_digest(der: bytes) -> str:
    key = x509.load_der_x509_certificate(der).public_key()
    raw = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(raw).hexdigest()


async def result(platform: Platform, domain: str = FAR) -> str:
    job = await stored(platform, f"bob@{domain}", domain=domain)
    async with relaying(platform):
        await put(platform, job)
        return (await states(platform, 1))[0]


async def test_the_key_that_the_record_names_is_enough(
    platform: Platform, host: Host, dns: Dns, tlsa: str, authority: trustme.CA
) -> None:
    """With DANE-EE neither an authority nor the name in the certificate counts."""
    der = served(host, authority, "quite.another.name")
    dns.set(tlsa, "TLSA", [f"3 1 1 {key_digest(der)}"])

    assert await result(platform) == "relayed"
    assert host.taken[0].tls


@pytest.mark.parametrize(("name", "state"), [(MX, "relayed"), ("other.test", "deferred")])
async def test_an_authority_that_the_record_names_vouches_for_the_name(
    platform: Platform,
    host: Host,
    dns: Dns,
    tlsa: str,
    authority: trustme.CA,
    name: str,
    state: str,
) -> None:
    served(host, authority, name)
    anchor = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    digest = hashlib.sha256(anchor.public_bytes(Encoding.DER)).hexdigest()
    dns.set(tlsa, "TLSA", [f"2 0 1 {digest}"])

    assert await result(platform) == state


async def test_a_key_that_no_record_names_gets_nothing(
    platform: Platform, host: Host, dns: Dns, tlsa: str, authority: trustme.CA
) -> None:
    served(host, authority)
    dns.set(tlsa, "TLSA", [f"3 1 1 {'ab' * 32}"])

    assert await result(platform) == "deferred"
    assert "TLSA" in (await rows(platform, deferred))[0].last_reply
    assert not any(line.startswith("MAIL") for line in host.lines)


@pytest.mark.parametrize("record", [f"3 1 1 {'ab' * 32}", f"0 0 1 {'ab' * 32}"])
async def test_a_record_forbids_plain_text_even_when_it_cannot_be_used(
    platform: Platform, host: Host, dns: Dns, tlsa: str, record: str
) -> None:
    dns.set(tlsa, "TLSA", [record])

    assert await result(platform) == "deferred"
    assert not any(line.startswith("MAIL") for line in host.lines)


async def test_unsigned_records_ask_for_nothing(
    platform: Platform, host: Host, dns: Dns, tlsa: str
) -> None:
    owner = f"_{host.port}._tcp.mx.plain.test"
    dns.set(owner, "TLSA", [f"3 1 1 {'ab' * 32}"])

    try:
        assert await result(platform, "plain.test") == "relayed"
    finally:
        dns.set(owner, "TLSA", [])


async def test_dane_can_be_turned_off(
    platform: Platform, host: Host, dns: Dns, tlsa: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_DANE", "false")
    dns.set(tlsa, "TLSA", [f"3 1 1 {'ab' * 32}"])

    assert await result(platform) == "relayed"
