"""Behind a load balancer: who the client is, and who may say so (S11)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path

import pytest

from libs.common.runtime.settings import SettingsError
from services.cli.certificates import ensure_certificate
from services.ingress.peers import is_listed, parse_networks
from services.ingress.settings import IngressSettings
from tests.integration.ingress.ingress import DOMAIN, Ingress, running
from tests.servers.needed import needed

TALK = (
    f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@{DOMAIN}>\r\nDATA\r\nx\r\n.\r\n".encode()
)
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, addresses: bytes) -> bytes:
    return V2 + struct.pack("!BBH", 0x20 | command, family, len(addresses)) + addresses


IPV4 = socket.inet_aton("192.0.2.9") + socket.inet_aton("198.51.100.1") + b"\0\1\0\x19"
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + b"\0\1\0\x19"


async def client_of(ingress: Ingress, header: bytes) -> str:
    await ingress.converse(header + TALK)
    ((record, _),) = await ingress.records()
    return record.client.ip


@pytest.mark.parametrize(
    ("header", "ip"),
    [
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 1 25\r\n", "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 1 25\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (v2(1, 0x11, IPV4), "192.0.2.9"),
        (v2(1, 0x21, IPV6), "2001:db8::9"),
        (v2(1, 0x11, IPV4 + b"\x04\0\1x"), "192.0.2.9"),
        (v2(0, 0x00, b""), "127.0.0.1"),
    ],
)
async def test_a_listed_peer_names_the_client(tmp_path: Path, header: bytes, ip: str) -> None:
    async with running(tmp_path, proxy_listeners="mx", proxy_networks="127.0.0.0/8") as ingress:
        assert await client_of(ingress, header) == ip


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PROXY TCP4 192.0.2.9\r\n",
        b"PROXY TCP4 192.0.2.999 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.9 198.51.100.1 1 66666\r\n",
        b"PROXY " + b"x" * 200 + b"\r\n",
        V2 + b"\x31\x11\0\0",
        v2(1, 0x11, IPV4[:5]),
        v2(2, 0x11, IPV4),
    ],
)
async def test_without_a_header_there_is_no_session(tmp_path: Path, header: bytes) -> None:
    async with running(tmp_path, proxy_listeners="mx", proxy_networks="127.0.0.1") as ingress:
        got = await ingress.converse(header + TALK)

        assert got == b""
        assert await ingress.records() == []


async def test_a_header_of_a_peer_that_is_not_listed_is_not_believed(tmp_path: Path) -> None:
    async with running(tmp_path, proxy_listeners="mx", proxy_networks="192.0.2.0/24") as ingress:
        got = await ingress.converse(b"PROXY TCP4 192.0.2.9 198.51.100.1 1 25\r\n" + TALK)

        assert got == b""


async def test_where_no_header_is_demanded_it_is_an_unknown_command(tmp_path: Path) -> None:
    async with running(tmp_path) as ingress:
        got = await ingress.converse(b"PROXY TCP4 192.0.2.9 198.51.100.1 1 25\r\n" + TALK)

        ((record, _),) = await ingress.records()
    assert b"500 5.5.1" in got
    assert record.client.ip == "127.0.0.1"


async def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    ca, certificate, key = ensure_certificate(tmp_path / "tls", ["localhost"])
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, key)
    knobs = {"proxy_listeners": "submissions", "proxy_networks": "127.0.0.1"}
    async with running(tmp_path, tls=server_side, **knobs) as ingress:
        with socket.create_connection(("127.0.0.1", ingress.ports["submissions"])) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.9 198.51.100.1 1 465\r\n")
            context = ssl.create_default_context(cafile=str(ca))

            def greet() -> bytes:
                with context.wrap_socket(sock, server_hostname="localhost") as secure:
                    return secure.recv(100)

            assert (await asyncio.to_thread(greet)).startswith(b"220 ")


@pytest.mark.parametrize(("version", "family"), [("1", "TCP4"), ("2", "AF_INET")])
async def test_swaks_comes_through_a_proxy(tmp_path: Path, version: str, family: str) -> None:
    needed("swaks")
    knobs = {"proxy_listeners": "mx", "proxy_networks": "127.0.0.1"}
    async with running(tmp_path, **knobs) as ingress:
        swaks = await asyncio.create_subprocess_exec(
            "swaks",
            *("--server", f"127.0.0.1:{ingress.ports['mx']}"),
            *("--proxy-version", version, "--proxy-family", family),
            *("--proxy-source", "192.0.2.9", "--proxy-source-port", "1"),
            *("--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"),
            *("--from", "you@elsewhere.example", "--to", f"alice@{DOMAIN}"),
            stdout=asyncio.subprocess.DEVNULL,
        )

        assert await swaks.wait() == 0
        ((record, _),) = await ingress.records()
    assert record.client.ip == "192.0.2.9"


@pytest.mark.parametrize(
    ("said", "ip", "rdns"),
    [
        (b"NAME=client.example ADDR=192.0.2.7", "192.0.2.7", "client.example"),
        (b"NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7", "2001:db8::7", ""),
        (b"addr=192.0.2.7\r\nXCLIENT ADDR=192.0.2.8", "192.0.2.8", ""),
    ],
)
async def test_xclient_of_a_listed_peer_begins_anew(
    tmp_path: Path, said: bytes, ip: str, rdns: str
) -> None:
    async with running(tmp_path, xclient_networks="127.0.0.1,::1") as ingress:
        got = await ingress.converse(b"EHLO x\r\nXCLIENT " + said + b"\r\n" + TALK)

        ((record, _),) = await ingress.records()
    assert b"250-XCLIENT NAME ADDR HELO\r\n" in got or b"250 XCLIENT" in got
    assert (record.client.ip, record.client.rdns) == (ip, rdns)


@pytest.mark.parametrize(
    "said", [b"", b"ADDR=x", b"LOGIN=alice@example.test", b"NAME=a+0Ab", b"NAME=", b"ADDR"]
)
async def test_xclient_that_is_wrong_changes_nothing(tmp_path: Path, said: bytes) -> None:
    async with running(tmp_path, xclient_networks="127.0.0.1") as ingress:
        got = await ingress.converse(b"XCLIENT " + said + b"\r\n" + TALK)

        ((record, _),) = await ingress.records()
    assert b"501 5.5.4" in got or said == b"ADDR"
    assert record.client.ip == "127.0.0.1"


async def test_strangers_do_not_see_xclient_and_may_not_say_it(tmp_path: Path) -> None:
    async with running(tmp_path, xclient_networks="192.0.2.0/24") as ingress:
        got = await ingress.converse(b"EHLO x\r\nXCLIENT ADDR=192.0.2.7\r\nQUIT\r\n")

    assert b"XCLIENT NAME" not in got
    assert b"550 5.7.0" in got


def test_an_ipv4_address_mapped_into_ipv6_is_itself() -> None:
    networks = parse_networks(" 192.0.2.0/24, ::1 ")

    assert is_listed("::ffff:192.0.2.1", networks)
    assert is_listed("::1", networks)
    assert not is_listed("192.0.3.1", networks)
    assert not is_listed("192.0.2.1", [])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PROXY_NETWORKS", {"PROXY_NETWORKS": "10.0.0.1/8"}),
        ("XCLIENT_NETWORKS", {"XCLIENT_NETWORKS": "all"}),
        ("proxy_listeners", {"PROXY_LISTENERS": "imap", "PROXY_NETWORKS": "::1"}),
        ("proxy_networks", {"PROXY_LISTENERS": "mx"}),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, values: dict[str, str]
) -> None:
    for key, value in values.items():
        monkeypatch.setenv(f"HOLUB_INGRESS_{key}", value)

    with pytest.raises(SettingsError, match=name):
        IngressSettings.load()
