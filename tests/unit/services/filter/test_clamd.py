"""Against a scripted daemon on a socket, for all that a real one does only when it is unwell."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.filter.clamd import (
    Clamd,
    ClamdDropped,
    ClamdUnavailable,
    Scan,
    ScanFailed,
    open_clamd,
)

Behave = Callable[[int, bytes], Awaitable[bytes | None]]
"""(number of the scan, content) -> the answer; None closes the connection."""


class Daemon:
    def __init__(self, path: Path, behave: Behave) -> None:
        self.url = f"unix://{path}"
        self._path = path
        self._behave = behave
        self.connections = 0
        self.scans = 0
        self.pings = True

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = 0
        try:
            while (command := await reader.readuntil(b"\0")) != b"zEND\0":
                if command == b"zPING\0" and self.pings:
                    writer.write(b"PONG\0")
                if command != b"zINSTREAM\0":
                    continue
                content = b""
                while length := struct.unpack("!L", await reader.readexactly(4))[0]:
                    content += await reader.readexactly(length)
                number += 1
                self.scans += 1
                answer = await self._behave(self.scans, content)
                if answer is None:
                    break
                writer.write(b"%d: %b\0" % (number, answer))
        except asyncio.IncompleteReadError:
            pass
        writer.close()


async def clean(_: int, content: bytes) -> bytes:
    return b"stream: OK"


async def drop(_: int, content: bytes) -> None:
    return None


async def hang(_: int, content: bytes) -> bytes:
    await asyncio.sleep(30)
    return b""


class Scene:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack

    async def daemon(self, name: str, behave: Behave) -> Daemon:
        daemon = Daemon(self._folder / name, behave)
        await daemon.start()
        self._stack.callback(daemon.server.close)
        return daemon

    async def clamd(self, *daemons: Daemon, seconds: float = 5.0, most: int = 1 << 20) -> Clamd:
        urls = ",".join(daemon.url for daemon in daemons)
        opening = open_clamd(urls, seconds=seconds, sessions=2, max_octets=most)
        clamd = await self._stack.enter_async_context(opening)
        assert clamd is not None
        return clamd


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        yield Scene(tmp_path, stack)


async def test_the_content_arrives_whole_in_chunks_over_one_session(scene: Scene) -> None:
    seen: list[bytes] = []

    async def keep(_: int, content: bytes) -> bytes:
        seen.append(content)
        return b"stream: OK"

    daemon = await scene.daemon("a", keep)
    clamd = await scene.clamd(daemon)
    content = bytes(range(256)) * 2000

    assert await clamd.scan(content) == Scan()
    assert await clamd.scan(b"") == Scan()
    assert seen == [content, b""]
    assert daemon.connections == 1


async def test_at_most_as_many_sessions_as_set_are_open(scene: Scene) -> None:
    daemon = await scene.daemon("a", clean)
    clamd = await scene.clamd(daemon)

    await asyncio.gather(*(clamd.scan(b"x") for _ in range(20)))

    assert daemon.connections <= 2


async def test_a_signature_is_named(scene: Scene) -> None:
    async def found(_: int, content: bytes) -> bytes:
        return b"stream: Some.Virus-1 FOUND"

    clamd = await scene.clamd(await scene.daemon("a", found))

    assert await clamd.scan(b"x") == Scan(found="Some.Virus-1")


async def test_content_over_the_limit_is_never_sent(scene: Scene) -> None:
    daemon = await scene.daemon("a", clean)
    clamd = await scene.clamd(daemon, most=10)

    assert await clamd.scan(b"x" * 11) == Scan(too_large=True)
    assert daemon.connections == 0


async def test_a_limit_that_only_the_daemon_knows_is_not_clean(scene: Scene) -> None:
    async def limit(_: int, content: bytes) -> bytes:
        return b"INSTREAM size limit exceeded. ERROR"

    clamd = await scene.clamd(await scene.daemon("a", limit))

    assert (await clamd.scan(b"x")).too_large


async def test_a_session_that_the_daemon_closed_is_opened_anew(scene: Scene) -> None:
    async def every_other(number: int, content: bytes) -> bytes | None:
        return b"stream: OK" if number != 2 else None

    daemon = await scene.daemon("a", every_other)
    clamd = await scene.clamd(daemon)

    assert await clamd.scan(b"x") == Scan()
    assert await clamd.scan(b"x") == Scan()
    assert daemon.connections == 2


async def test_a_hung_daemon_is_left_for_another_and_then_left_alone(scene: Scene) -> None:
    hung, well = await scene.daemon("a", hang), await scene.daemon("b", clean)
    hung.pings = False
    clamd = await scene.clamd(hung, well, seconds=0.1)

    scans = await asyncio.gather(*(clamd.scan(b"x") for _ in range(20)))

    assert scans == [Scan()] * 20
    assert hung.scans == 2


async def test_no_daemon_is_no_verdict(scene: Scene, tmp_path: Path) -> None:
    gone = Daemon(tmp_path / "nobody", clean)

    with pytest.raises(ClamdUnavailable) as caught:
        await (await scene.clamd(gone)).scan(b"x")

    assert not isinstance(caught.value, ClamdDropped)


async def test_a_daemon_that_failed_is_left_alone_for_a_while(scene: Scene) -> None:
    hung = await scene.daemon("a", hang)
    hung.pings = False
    clamd = await scene.clamd(hung, seconds=0.1)

    for _ in range(2):
        with pytest.raises(ClamdUnavailable):
            await clamd.scan(b"x")

    assert hung.scans == 1


async def test_a_content_that_well_daemons_drop_is_to_blame_itself(scene: Scene) -> None:
    clamd = await scene.clamd(await scene.daemon("a", drop))

    with pytest.raises(ScanFailed):
        await clamd.scan(b"x")


async def test_a_daemon_that_dies_of_a_content_is_told_from_one_that_is_away(scene: Scene) -> None:
    daemon = await scene.daemon("a", drop)
    daemon.pings = False
    clamd = await scene.clamd(daemon)

    with pytest.raises(ClamdDropped):
        await clamd.scan(b"x")


@pytest.mark.parametrize(
    "answer", [b"stream: Cannot allocate memory ERROR", b"garbage", b"x" * 9000]
)
async def test_an_answer_that_is_none_is_never_clean(scene: Scene, answer: bytes) -> None:
    async def answers(_: int, content: bytes) -> bytes:
        return answer

    clamd = await scene.clamd(await scene.daemon("a", answers))

    with pytest.raises(ScanFailed):
        await clamd.scan(b"x")


async def test_no_address_means_no_scanner() -> None:
    async with open_clamd("", seconds=1, sessions=1, max_octets=1) as clamd:
        assert clamd is None


async def test_an_address_without_a_scheme_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="HOLUB_FILTER_CLAMD"):
        async with open_clamd("127.0.0.1:3310", seconds=1, sessions=1, max_octets=1):
            pass
