"""Reads every message back through IMAP and compares it with what was sent."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedRWPair

from tests.bench.subject import DOMAIN, PASSWORD
from tests.bench.workload import MARK

_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_NUMBER = slice(len(MARK), len(MARK) + 9)


@dataclass(slots=True)
class Comparison:
    """What was found."""

    equal: int = 0
    altered: int = 0
    twice: int = 0
    strange: int = 0
    missing: int = 0

    @property
    def clean(self) -> bool:
        """Whether exactly what was sent is there."""
        return not (self.altered or self.twice or self.strange or self.missing)

    def __str__(self) -> str:
        return (
            f"{self.equal} equal, {self.altered} altered, {self.twice} twice,"
            f" {self.strange} strange, {self.missing} missing"
        )


def compare(port: int, accounts: int, expected: Mapping[int, bytes]) -> Comparison:
    """Compare all INBOXes with `expected`: number -> SHA-256 of the content."""
    result = Comparison()
    seen: set[int] = set()
    for account in range(1, accounts + 1):
        for content in contents(port, f"bench{account}@{DOMAIN}", PASSWORD):
            judge(content, expected, seen, result)
    result.missing = len(expected.keys() - seen)
    return result


def judge(
    content: bytes, expected: Mapping[int, bytes], seen: set[int], result: Comparison
) -> None:
    """Compare one message with what was sent under its number, and count it in `result`."""
    # What a server adds stands before the first field that we made.
    at = content.find(MARK)
    text = content[at:][_NUMBER]
    number = int(text) if at >= 0 and text.isdigit() else -1
    if number not in expected:
        result.strange += 1
    elif number in seen:
        result.twice += 1
    elif hashlib.sha256(memoryview(content)[at:]).digest() != expected[number]:
        result.altered += 1
        seen.add(number)
    else:
        result.equal += 1
        seen.add(number)


def contents(port: int, login: str, password: str) -> Iterator[bytes]:
    """Every message of an INBOX, as IMAP gives it; `RuntimeError` on a NO or BAD."""
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with link.makefile("rwb") as stream:
            stream.readline()
            for _ in _command(stream, b"a", f"LOGIN {login} {password}".encode()):
                pass
            for _ in _command(stream, b"b", b"EXAMINE INBOX"):
                pass
            yield from _command(stream, b"c", b"FETCH 1:* (BODY.PEEK[])")
            for _ in _command(stream, b"d", b"LOGOUT"):
                pass


def _command(stream: BufferedRWPair, tag: bytes, command: bytes) -> Iterator[bytes]:
    """Send one command; the literals of its responses."""
    stream.write(tag + b" " + command + b"\r\n")
    stream.flush()
    while True:
        line = stream.readline()
        if literal := _LITERAL.search(line):
            yield stream.read(int(literal[1]))
        elif line.startswith(tag + b" OK"):
            return
        elif not line or line.startswith(tag + b" "):
            # An empty mailbox has no message 1, and some servers say BAD to that.
            if command.startswith(b"FETCH") and line:
                return
            raise RuntimeError(f"IMAP: {command.split()[0]!r} was answered {line!r}")
