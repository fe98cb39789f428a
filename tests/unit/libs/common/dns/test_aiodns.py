"""Against a small DNS server on a UDP socket, so that every kind of answer can be had."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from libs.common.dns import DnsUnavailable, Resolver, open_resolver
from libs.common.dns.aiodns import SILENT

TXT, MX, A, CNAME = 16, 15, 1, 5


def _name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".") if part) + b"\0"


def _record(name: str, kind: int, data: bytes, ttl: int = 60) -> bytes:
    return _name(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


ANSWERS: dict[tuple[str, int], tuple[int, list[bytes]]] = {
    ("two.test", TXT): (0, [_record("two.test", TXT, b"\x03v=s\x05pf1 x")]),
    ("mx.test", MX): (
        0,
        [
            _record("mx.test", MX, b"\0\x14" + _name("b.mx.test")),
            _record("mx.test", MX, b"\0\x0a" + _name("A.mx.test")),
        ],
    ),
    ("null.test", MX): (0, [_record("null.test", MX, b"\0\0\0")]),
    ("alias.test", A): (
        0,
        [
            _record("alias.test", CNAME, _name("real.test")),
            _record("real.test", A, bytes([192, 0, 2, 7])),
        ],
    ),
    ("dangling.test", A): (0, [_record("dangling.test", CNAME, _name("nowhere.test"))]),
    ("empty.test", A): (0, []),
    ("broken.test", A): (2, []),
}


class _Server(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        name = ".".join(labels)
        kind = struct.unpack_from(">H", data, at + 1)[0]
        self.asked[name] += 1
        if name == "silent.test":
            return
        code, records = ANSWERS.get((name, kind), (3, []))
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        answer = head + data[12 : at + 5] + b"".join(records)
        self.transport.sendto(answer, address)  # type: ignore[attr-defined]


@pytest.fixture
async def server() -> AsyncIterator[tuple[_Server, Resolver]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    resolver = open_resolver(f"127.0.0.1:{port}")
    yield protocol, resolver
    await resolver.close()
    transport.close()


async def test_the_strings_of_one_record_are_joined(server: tuple[_Server, Resolver]) -> None:
    assert (await server[1].txt("two.test")).records == (b"v=spf1 x",)


async def test_exchangers_are_ordered_and_a_null_one_is_empty(
    server: tuple[_Server, Resolver],
) -> None:
    hosts = [mx.host for mx in (await server[1].mx("mx.test")).records]

    assert hosts == ["a.mx.test", "b.mx.test"]
    assert [mx.host for mx in (await server[1].mx("null.test")).records] == [""]


async def test_an_alias_is_followed_and_one_that_ends_nowhere_is_empty(
    server: tuple[_Server, Resolver],
) -> None:
    assert (await server[1].a("alias.test")).records == ("192.0.2.7",)
    assert (await server[1].a("dangling.test")).records == ()


async def test_no_such_name_no_such_record_and_no_answer_are_three_things(
    server: tuple[_Server, Resolver],
) -> None:
    resolver = server[1]

    assert not (await resolver.a("nobody.test")).exists
    assert (await resolver.a("empty.test")).exists
    with pytest.raises(DnsUnavailable):
        await resolver.a("broken.test")
    with pytest.raises(DnsUnavailable):
        await resolver.a("silent.test")


async def test_the_same_question_is_asked_once(server: tuple[_Server, Resolver]) -> None:
    protocol, resolver = server

    await asyncio.gather(*(resolver.txt("Two.test.") for _ in range(20)))
    await resolver.txt("two.test")

    assert protocol.asked["two.test"] == 1


async def test_an_impossible_name_is_answered_without_a_question(
    server: tuple[_Server, Resolver],
) -> None:
    assert not (await server[1].a("x" * 64 + ".test")).exists
    assert not server[0].asked


async def test_servers_that_never_answer_are_left_alone_for_a_while() -> None:
    """Else every message would wait out the time of each question."""
    resolver = open_resolver("127.0.0.1:1")
    try:
        for n in range(SILENT):
            with pytest.raises(DnsUnavailable):
                await resolver.txt(f"n{n}.test")

        with pytest.raises(DnsUnavailable, match="no server answered a moment ago"):
            await resolver.txt("another.test")
    finally:
        await resolver.close()
