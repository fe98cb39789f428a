"""The proxy does to connections what it says, and nothing once it is healed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.faultproxy import Action, Fault, FaultProxy

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class _Upstream:
    """An echo, or an HTTP server that answers `hello`; it counts what it was asked."""

    def __init__(self, http: bool) -> None:
        self._http = http
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await (reader.readuntil(b"\r\n\r\n") if self._http else reader.read(999)):
                self.requests += 1
                writer.write(_ANSWER if self._http else data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _before(http: bool) -> AsyncIterator[tuple[_Upstream, FaultProxy]]:
    server = _Upstream(http)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with FaultProxy("127.0.0.1", port, http=http) as proxy:
        yield server, proxy
    listener.close()


@pytest.fixture
async def link() -> AsyncIterator[FaultProxy]:
    """A plain proxy before an echo."""
    async with _before(http=False) as (_, proxy):
        yield proxy


@pytest.fixture
async def web() -> AsyncIterator[tuple[_Upstream, FaultProxy]]:
    """A proxy that knows HTTP, before a server that says hello."""
    async with _before(http=True) as both:
        yield both


async def _ask(proxy: FaultProxy, octets: bytes, seconds: float = 2.0) -> bytes:
    """All that comes back; TimeoutError when that takes too long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(octets)
        writer.write_eof()
        async with asyncio.timeout(seconds):
            return await reader.read(-1)
    finally:
        writer.close()


async def test_it_hands_on_what_it_is_given(link: FaultProxy) -> None:
    assert await _ask(link, b"octets") == b"octets"


async def test_a_blackhole_is_silent_until_it_is_healed(link: FaultProxy) -> None:
    link.blackhole()
    waits = asyncio.create_task(_ask(link, b"octets", 10))

    await asyncio.sleep(0.2)

    assert not waits.done()
    link.heal()
    assert await waits == b"octets"


async def test_a_delay_holds_up_both_directions(link: FaultProxy) -> None:
    link.delay(0.1)
    start = time.monotonic()

    assert await _ask(link, b"octets") == b"octets"
    assert time.monotonic() - start >= 0.2


async def test_a_cut_lets_no_more_through_than_it_says(link: FaultProxy) -> None:
    link.cut_after(3)

    # The RST may overtake what was let through.
    with contextlib.suppress(ConnectionResetError):
        assert await _ask(link, b"octets") == b"oct"
    link.heal()
    assert await _ask(link, b"octets") == b"octets"


async def test_refused_connections_end_at_once_until_it_is_healed(link: FaultProxy) -> None:
    link.refuse()

    with contextlib.suppress(ConnectionResetError):
        assert await _ask(link, b"octets") == b""
    link.heal()
    assert await _ask(link, b"octets") == b"octets"


async def test_a_reset_ends_the_connections_of_now(link: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"octets")
    assert await reader.read(10) == b"octets"

    link.reset()

    with pytest.raises(ConnectionResetError):
        await reader.read(10)
    writer.close()


_REQUEST = b"PUT /bucket/key HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("action", "asked", "answer"),
    [
        (Action.ERROR_BEFORE, 0, b"HTTP/1.1 500"),
        (Action.ERROR_AFTER, 1, b"HTTP/1.1 500"),
        (Action.TRUNCATE, 1, _ANSWER[:-3]),
        (Action.FLIP, 1, _ANSWER[:-5] + b"hemlo"),
        (Action.STALL_AFTER, 1, _ANSWER),
        (Action.STALL_BEFORE, 1, _ANSWER),
    ],
)
async def test_a_fault_hits_one_request_before_or_after_the_server(
    web: tuple[_Upstream, FaultProxy], action: Action, asked: int, answer: bytes
) -> None:
    server, proxy = web
    proxy.inject(Fault(action, "PUT", path="key", seconds=0.1, octets=2))

    assert (await _ask(proxy, _REQUEST)).startswith(answer)
    assert server.requests == asked
    assert proxy.hits[action] == 1
    assert await _ask(proxy, _REQUEST) == _ANSWER


async def test_a_dropped_answer_is_a_reset(web: tuple[_Upstream, FaultProxy]) -> None:
    server, proxy = web
    proxy.inject(Fault(Action.DROP_AFTER))

    with pytest.raises(ConnectionResetError):
        await _ask(proxy, _REQUEST)
    assert server.requests == 1


async def test_other_requests_are_left_alone(web: tuple[_Upstream, FaultProxy]) -> None:
    web[1].inject(Fault(Action.ERROR_BEFORE, "GET"))

    assert await _ask(web[1], _REQUEST) == _ANSWER
