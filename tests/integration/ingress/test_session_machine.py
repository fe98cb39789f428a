"""The session against a model of RFC 5321 §4.1.4: any order of commands gets the right codes.

And whatever was said: as many messages are stored as were answered 250.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from libs.protocols.smtp.data import stuff
from tests.integration.ingress.ingress import DOMAIN, OTHER_DOMAIN, Ingress, running

CONTENT = st.sampled_from([b"", b"a\r\n", b".\r\n.\r\n", b"Subject: x\r\n\r\n.b\r\n", b"x" * 4000])
BAD = st.sampled_from([b"a\nb", b"a\rb"])


class Sessions(RuleBasedStateMachine):
    """One client that says anything, and what we should think of it."""

    runner: asyncio.Runner
    ingress: Ingress
    stored = 0
    """Of all runs so far."""

    def __init__(self) -> None:
        super().__init__()
        self.greeted = self.mail = self.chunked = False
        self.recipients, self.domain = 0, ""
        self.errors = 0
        self.reader, self.writer = self.runner.run(
            asyncio.open_connection("127.0.0.1", self.ingress.ports["mx"])
        )
        assert self.code() == 220

    def code(self) -> int:
        """The code of the next reply; each of its lines has the same."""

        async def read() -> int:
            codes = set()
            while True:
                line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 20)
                codes.add(int(line[:3]))
                if line[3:4] == b" ":
                    assert len(codes) == 1
                    return codes.pop()

        return self.runner.run(read())

    def say(self, data: bytes) -> int:
        self.writer.write(data)
        code = self.code()
        if code >= 400:
            self.errors += 1
        return code

    def reset(self) -> None:
        self.mail = self.chunked = False
        self.recipients, self.domain = 0, ""

    @rule(verb=st.sampled_from([b"EHLO", b"HELO", b"ehlo"]))
    def greet(self, verb: bytes) -> None:
        assert self.say(verb + b" client.example\r\n") == 250
        self.greeted = True
        self.reset()

    @rule(chunk=st.booleans())
    def begin_pipelined(self, chunk: bool) -> None:
        """A shortcut into the states that lie deep."""
        lines = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@{DOMAIN}>\r\n".encode()
        self.writer.write(lines + b"BDAT 3\r\nabc" * chunk)
        assert [self.code() for _ in range(3 + chunk)] == [250] * (3 + chunk)
        self.reset()
        self.greeted = self.mail = True
        self.recipients, self.domain, self.chunked = 1, DOMAIN, chunk

    @rule(path=st.sampled_from([b"<>", b"<a@b.example>", b"<a@b.example> SIZE=1"]))
    def begin(self, path: bytes) -> None:
        fine = self.greeted and not self.mail
        assert self.say(b"MAIL FROM:" + path + b"\r\n") == (250 if fine else 503)
        self.mail = self.mail or fine

    @rule(address=st.sampled_from([f"alice@{DOMAIN}", f"bob@{DOMAIN}", f"dave@{OTHER_DOMAIN}"]))
    def recipient(self, address: str) -> None:
        code = self.say(f"RCPT TO:<{address}>\r\n".encode())
        domain = address.partition("@")[2]
        if not self.mail or self.chunked:
            assert code == 503
        elif self.domain not in ("", domain):
            assert code == 452  # the two domains are of two tenants
        else:
            assert code == 250
            self.domain = domain
            self.recipients += 1

    @rule(
        case=st.sampled_from(
            [(f"<nobody@{DOMAIN}>", 550), ("<x@far.example>", 550), ("x@y", 501), ("<x>", 501)]
        )
    )
    def wrong_recipient(self, case: tuple[str, int]) -> None:
        fine = self.mail and not self.chunked
        assert self.say(f"RCPT TO:{case[0]}\r\n".encode()) == (case[1] if fine else 503)

    @rule(content=CONTENT)
    def data(self, content: bytes) -> None:
        code = self.say(b"DATA\r\n")
        if not self.mail or self.chunked:
            assert code == 503
        elif not self.recipients:
            assert code == 554
        else:
            assert code == 354
            assert self.say(stuff(content)) == 250
            type(self).stored += 1
            self.reset()

    @rule(content=BAD)
    def bad_data(self, content: bytes) -> None:
        if self.mail and self.recipients and not self.chunked:
            assert self.say(b"DATA\r\n") == 354
            assert self.say(content + b"\r\n.\r\n") == 550
            self.reset()

    @rule(content=CONTENT | BAD, last=st.booleans())
    def chunk(self, content: bytes, last: bool) -> None:
        code = self.say(b"BDAT %d%s\r\n" % (len(content), b" LAST" * last) + content)
        if not self.mail:
            assert code == 503
        elif not self.recipients:
            assert code == 554
        elif set(content.replace(b"\r\n", b"")) & set(b"\r\n"):
            assert code == 550
            self.reset()
        else:
            assert code == 250
            self.chunked = True
            if last:
                type(self).stored += 1
                self.reset()

    @rule()
    def rset(self) -> None:
        assert self.say(b"RSET\r\n") == 250
        self.reset()

    @rule(
        case=st.sampled_from(
            [
                (b"NOOP x\r\n", 250),
                (b"VRFY alice\r\n", 252),
                (b"EXPN x\r\n", 502),
                (b"HELP\r\n", 214),
                (b"AUTH PLAIN\r\n", 502),
                (b"STARTTLS\r\n", 502),
                (b"LHLO x\r\n", 500),
                (b"\r\n", 500),
                (b"\n", 500),
                (b"\xff\r\n", 500),
                (b"x" * 3000 + b"\r\n", 500),
            ]
        )
    )
    def other(self, case: tuple[bytes, int]) -> None:
        assert self.say(case[0]) == case[1]

    @invariant()
    def the_session_is_open(self) -> None:
        assert not self.reader.at_eof()

    def teardown(self) -> None:
        async def end() -> int:
            self.writer.write(b"QUIT\r\n")
            assert (await asyncio.wait_for(self.reader.read(), 20)).startswith(b"221 2.0.0")
            self.writer.close()
            return len(await self.ingress.records())

        assert self.runner.run(end()) == type(self).stored


@pytest.fixture
def ingress() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        knobs = {"max_errors": 10_000}
        Sessions.runner, Sessions.stored = runner, 0
        Sessions.ingress = runner.run(stack.enter_async_context(running(Path(folder), **knobs)))
        yield
        runner.run(stack.aclose())


def test_any_order_of_commands(ingress: None) -> None:
    run_state_machine_as_test(
        Sessions,
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            deadline=None,
            # Each step is a round trip, and shrinking takes thousands.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
