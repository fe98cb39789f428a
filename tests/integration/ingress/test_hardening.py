"""S8-S12: what strangers try, by the class of the CVEs that it was; limits at -1, 0 and +1.

Elsewhere: S1 test_smuggling, S11 test_proxied, S12 test_certificates and the unit tests of
`libs.common.runtime.tls`; RCPT as an oracle: test_screen.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import smtplib
import ssl
from pathlib import Path

import pytest
import uvloop

from tests.integration.ingress.ingress import ALICE, DOMAIN, PASSWORD, Ingress, running

Tls = tuple[ssl.SSLContext, ssl.SSLContext]
HEAD = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{ALICE}>\r\n".encode()


def submission(ingress: Ingress, tls: Tls) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", ingress.ports["submission"], timeout=30)
    client.starttls(context=tls[1])
    client.ehlo()
    return client


def plain(login: str, password: str) -> str:
    return "AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()).decode()


async def dripped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Octet by octet, each in time, until it is the server that has enough: its last reply."""

    async def last_word() -> bytes:
        while not (line := await reader.readline()).startswith(b"421 "):
            assert line, "closed without a word"
        return line

    heard = asyncio.create_task(asyncio.wait_for(last_word(), 30))
    while not heard.done():
        writer.write(b"N")
        await asyncio.sleep(0.05)
    writer.close()
    return await heard


async def test_unknown_suspended_and_wrong_hear_the_same_octets(tmp_path: Path, tls: Tls) -> None:
    """S8, user enumeration (CVE-2026-27856 and its kin); their time is test_authenticator's."""
    async with running(tmp_path, tls=tls[0]) as ingress:

        def ask() -> set[tuple[int, bytes]]:
            with submission(ingress, tls) as client:
                return {
                    client.docmd(plain(login, "wrong"))
                    for login in (ALICE, f"nobody@{DOMAIN}", "nobody", "x@elsewhere.example")
                }

        heard = await asyncio.to_thread(ask)
    ((code, text),) = heard
    assert (code, text[:6]) == (535, b"5.7.8 ")


async def test_what_is_no_base64_ends_its_own_session_and_no_login_of_others(
    tmp_path: Path, tls: Tls
) -> None:
    """S8, broken responses as a denial of service (CVE-2025-59028)."""
    async with running(tmp_path, tls=tls[0], max_errors=5) as ingress:

        def ask() -> tuple[list[int], int]:
            with submission(ingress, tls) as client, submission(ingress, tls) as other:
                codes = []
                for junk in (
                    "AUTH PLAIN ====",
                    "AUTH PLAIN \u00a7",
                    "AUTH LOGIN !",
                    "AUTH X",
                    "AUTH",
                ):
                    client.sock.sendall(junk.encode() + b"\r\n")
                    codes.append(client.getreply()[0])
                codes.append(client.getreply()[0])
                return codes, other.docmd(plain(ALICE, PASSWORD))[0]

        codes, welcome = await asyncio.to_thread(ask)
    assert codes == [501, 501, 501, 504, 504, 421]
    assert welcome == 235


async def test_passwords_are_neither_offered_nor_taken_before_tls(tmp_path: Path, tls: Tls) -> None:
    """S8, and S3: a client whose STARTTLS was stripped does not give its password away."""
    async with running(tmp_path, tls=tls[0]) as ingress:
        got = await ingress.converse(
            b"EHLO x\r\n" + plain(ALICE, PASSWORD).encode() + b"\r\n", listener="submission"
        )

    assert b"AUTH" not in got
    assert b"538 5.7.11" in got


@pytest.mark.parametrize("kind", ["DATA", "BDAT", "refused"])
async def test_content_that_drips_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """S9, slowloris (CVE-2007-6750 and its kin): each octet alone would keep the session open."""
    start = b"BDAT 1000000 LAST\r\n" if kind == "BDAT" else b"DATA\r\n"
    knobs = {"timeout_seconds": 0.6, "min_octets_per_second": 1000}
    async with running(tmp_path, **knobs) as ingress:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.ports["mx"])
        writer.write(HEAD + start + (b"bare\nLF" if kind == "refused" else b""))

        got = await dripped(reader, writer)

        assert await ingress.records() == []
    assert got.startswith(b"421 4.4.2 ")


async def test_a_command_that_drips_is_not_waited_for(tmp_path: Path) -> None:
    """S9."""
    async with running(tmp_path, timeout_seconds=0.5) as ingress:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.ports["mx"])

        got = await dripped(reader, writer)

    assert got.startswith(b"421 4.4.2 ")


@pytest.mark.parametrize(("over", "codes"), [(-1, [250, 250]), (0, [250, 250]), (1, [500, 250])])
async def test_a_command_may_have_so_many_octets(
    tmp_path: Path, over: int, codes: list[int]
) -> None:
    """S10, and the session goes on ("21Nails": CVE-2020-28017 and its kin were lengths)."""
    line = b"NOOP " + b"x" * (2048 - len(b"NOOP \r\n") + over) + b"\r\n"
    async with running(tmp_path) as ingress:
        got = await ingress.converse(line + b"NOOP\r\n")

    assert [int(one[:3]) for one in got.splitlines()[1:]] == codes


@pytest.mark.parametrize("listener", ["mx", "submissions"])
@pytest.mark.parametrize("hello", [b"", b"no handshake\r\n" * 9])
def test_a_handshake_that_does_not_come_to_an_end_leaves_nothing_behind(
    tmp_path: Path, tls: Tls, listener: str, hello: bytes
) -> None:
    """S9: else 2,000 of them would be all the sessions that there may be.  Under uvloop, too."""

    async def talk() -> None:
        async with running(tmp_path, tls=tls[0], handshake_seconds=0.5) as ingress:
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.ports[listener])
            if listener == "mx":
                writer.write(b"STARTTLS\r\n")
                await reader.readuntil(b"220 2.0.0 go ahead\r\n")
            writer.write(hello)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 30)
            async with asyncio.timeout(30):
                while ingress.server.sessions:
                    await asyncio.sleep(0.05)
            writer.close()

    for make in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(talk())


@pytest.mark.parametrize("command", ["NOOP", "RSET", "VRFY x", "HELP", "EHLO x"])
async def test_so_many_commands_may_bring_no_message(tmp_path: Path, command: str) -> None:
    """S10: whoever only talks is asked to go; a message makes up for it."""
    one = command.encode() + b"\r\n"
    async with running(tmp_path, max_idle_commands=20) as ingress:
        enough = await ingress.converse(one * 20)
        more = await ingress.converse(one * 21)
        again = await ingress.converse(
            one * 19 + HEAD + b"DATA\r\nx\r\n.\r\n" + one * 20 + b"QUIT\r\n"
        )

    assert b"421" not in enough
    assert more.endswith(b"421 4.7.0 too many commands without a message; closing\r\n")
    assert again.endswith(b"221 2.0.0 goodbye\r\n")


@pytest.mark.parametrize(("over", "code"), [(-1, 250), (0, 250), (1, 501)])
async def test_a_name_in_ehlo_may_have_so_many_octets(tmp_path: Path, over: int, code: int) -> None:
    """S10."""
    async with running(tmp_path) as ingress:
        got = await ingress.converse(b"EHLO " + b"x" * (255 + over) + b"\r\n")

    assert int(got.splitlines()[1][:3]) == code


@pytest.mark.parametrize(("over", "ended"), [(-1, False), (0, True)])
async def test_so_many_refused_commands_end_a_session(
    tmp_path: Path, over: int, ended: bool
) -> None:
    """S10."""
    async with running(tmp_path, max_errors=20) as ingress:
        got = await ingress.converse(b"X\r\n" * (20 + over) + b"NOOP\r\n")

    assert (b"421 4.7.0 too many errors" in got) is ended
    assert got.endswith(b"250 2.0.0 OK\r\n") is not ended


@pytest.mark.parametrize(
    ("over", "code"), [(-1, b"250 2.0.0"), (0, b"250 2.0.0"), (1, b"554 5.4.6")]
)
async def test_a_message_may_have_been_through_so_many_hosts(
    tmp_path: Path, over: int, code: bytes
) -> None:
    """S10, loops (RFC 5321 §6.3)."""
    async with running(tmp_path, max_received=10) as ingress:
        trace = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n" * (10 + over)

        got = await ingress.converse(HEAD + b"DATA\r\n" + trace + b"\r\nx\r\n.\r\n")

    assert got.splitlines()[-1].startswith(code)


@pytest.mark.parametrize("length", ["-1", "18446744073709551616", "1e3", "0x10", "", "1 2"])
async def test_a_chunk_of_no_length_is_no_content_and_no_command(
    tmp_path: Path, length: str
) -> None:
    """S10 (CVE-2017-16943, CVE-2017-16944): what follows is not executed."""
    async with running(tmp_path) as ingress:
        got = await ingress.converse(
            HEAD + f"BDAT {length}\r\n".encode() + b"RSET\r\nMAIL FROM:<smuggled@x.example>\r\n"
        )

        assert await ingress.records() == []
    assert b"sender OK" not in got.split(b"recipient OK")[1]
