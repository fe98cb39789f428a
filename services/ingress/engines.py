"""What filter says of its scanners: while none answers, strangers are told to come again.

Only with HOLUB_FILTER_UNSCANNED=tempfail, and only before the content: what was accepted waits in
filter.  A word of filter's holds for some seconds, and now and then one message is let through to
see: so neither a filter that died nor one of several that has lost its scanner refuses for long.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from prometheus_client import Gauge

from libs.common.jobs import ENGINES, EngineNotice, decode
from libs.common.queue.protocol import Queue
from libs.common.runtime.log import get_logger
from libs.common.runtime.routine import end
from libs.protocols.smtp.reply import Reply

log = get_logger(__name__)
_DOWN = Gauge("holub_ingress_engines_down", "1 while no scanner of filter answers.")
AWAY = Reply(451, "4.3.2", "mail cannot be scanned for viruses now; please try again later")
HOLDS_SECONDS = 10.0
"""How long a word of filter's holds; it says so again every two seconds."""
PROBE_SECONDS = 5.0
"""Between two messages that are let through."""
TRUST_SECONDS = 10.0
"""How long a verdict proves that some filter can scan, whatever another one says."""


class Engines:
    """One per process."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._down_until = 0.0
        self._trust_until = 0.0
        self._probe_at = 0.0
        self._task: asyncio.Task[None] | None = None
        _DOWN.set_function(lambda: float(time.monotonic() < self._down_until))

    def start(self) -> None:
        """Listen from now on."""
        heard = self._queue.listen(ENGINES)

        async def listen() -> None:
            async for body in heard:
                self.hear(body, time.monotonic())

        self._task = asyncio.create_task(listen())

    async def close(self) -> None:
        """Listen no more."""
        await end(self._task)

    def hear(self, body: bytes, now: float) -> None:
        """A word of some filter."""
        try:
            notice = decode(body, EngineNotice)
        except msgspec.MsgspecError as error:
            log.warning("not understood", error=str(error))
            return
        if not notice.down:
            self._down_until = 0.0
        elif now >= self._trust_until:
            if now >= self._down_until:
                log.warning("mail is refused: no scanner answers", reason=notice.reason)
                self._probe_at = now + PROBE_SECONDS
            self._down_until = now + HOLDS_SECONDS

    def verdict_came(self) -> None:
        """Some filter can scan."""
        self._trust_until = time.monotonic() + TRUST_SECONDS
        self._down_until = 0.0

    def refusal(self, now: float) -> Reply | None:
        """Why no message may begin now."""
        if now >= self._down_until:
            return None
        if now >= self._probe_at:
            self._probe_at = now + PROBE_SECONDS
            return None
        return AWAY
