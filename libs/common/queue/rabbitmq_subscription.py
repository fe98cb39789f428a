"""Staying subscribed: the channel on which jobs of one queue come, made again whenever it is lost.

Prefetch counts jobs and the broker counts frames, so how many frames may be ahead follows how full
frames are.  Of suspects there is never more than one ahead: what only waits here when this process
dies would be counted too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiormq.abc import AbstractChannel, DeliveredMessage

from libs.common.queue import frame as framing
from libs.common.queue.protocol import JOB_QUEUES_ONE_BY_ONE, QueueError
from libs.common.queue.rabbitmq_link import Link, TopologyError, lost
from libs.common.queue.topology import declare, suspects
from libs.common.runtime.log import get_logger

log = get_logger(__name__)
ANSWER_SECONDS = 5.0
"""How long the broker may take to answer anything."""
_PAUSES = (0.1, 0.5, 1.0, 2.0)
_LEAST_FRAMES = 4
_FIRST_GUESS = framing.MAX_JOBS / 2
_AVERAGED = 16


class Subscription:
    """`arrived` is called with each message, `detached` when all of them are lost."""

    def __init__(
        self,
        link: Link,
        queue: str,
        prefetch: int,
        arrived: Callable[[DeliveredMessage], Awaitable[None]],
        detached: Callable[[], None],
    ) -> None:
        self.queue = queue
        self.channel: AbstractChannel | None = None
        self._link = link
        self._prefetch = prefetch
        self._arrived = arrived
        self._detached = detached
        self._average: float | None = None
        self._frames_ahead = 0
        self._tags: dict[str, str] = {}
        self._declare = False
        self._gone = asyncio.Event()
        self._ended = False
        self._staying: asyncio.Task[None] | None = None

    @property
    def jobs_per_frame(self) -> float:
        """The average of late; 1 when none came yet."""
        return self._average or 1.0

    def seen(self, jobs: int) -> None:
        """A frame of so many jobs came."""
        average = self._average or jobs
        self._average = average + (jobs - average) / _AVERAGED

    async def start(self) -> None:
        """Subscribe; `QueueError` only for what will not heal by itself."""
        try:
            await self._subscribe()
        except TopologyError:
            raise
        except BaseException as error:
            if not isinstance(error, QueueError) and not lost(error):
                raise
            log.warning("cannot consume yet", queue=self.queue, error=str(error))
            self._gone.set()
        self._staying = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        failures = 0
        while True:
            await self._gone.wait()
            self._gone.clear()
            await self._detach()
            try:
                await self._subscribe()
                failures = 0
                log.info("consuming again", queue=self.queue)
            except BaseException as error:
                if not isinstance(error, Exception) and not lost(error):
                    raise
                log.warning("cannot consume", queue=self.queue, error=repr(error))
                self._gone.set()
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1

    async def _subscribe(self) -> None:
        connection = await self._link.connection()
        async with asyncio.timeout(ANSWER_SECONDS):
            channel = await connection.channel(publisher_confirms=False)
            self.channel = channel
            # The queue may have been deleted since the connection was made.
            if self._declare:
                await declare(connection)
            channel.on_consumer_cancel_callbacks.add(lambda _: self._lose(channel))
            channel.closing.add_done_callback(lambda _: self._lose(channel))
            await self._consume(channel, suspects(self.queue), 1)
            await self._consume_ahead(channel)
        self._declare = False

    async def _consume_ahead(self, channel: AbstractChannel) -> None:
        self._frames_ahead = self._wanted_frames()
        await self._consume(channel, self.queue, self._frames_ahead)

    async def _consume(self, channel: AbstractChannel, name: str, frames: int) -> None:
        # It holds for the consumers that come after it.
        await channel.basic_qos(prefetch_count=frames)
        answer = await channel.basic_consume(name, self._arrived_here)
        self._tags[name] = str(answer.consumer_tag)

    async def _arrived_here(self, message: DeliveredMessage) -> None:
        # What comes late on a lost channel comes again.
        if message.channel is self.channel:
            await self._arrived(message)

    def _lose(self, channel: AbstractChannel) -> None:
        """The broker ended the subscription: a deleted queue, a fail-over, a lost connection."""
        if self.channel is channel and not self._ended:
            self._declare = True
            self._gone.set()

    async def _detach(self) -> None:
        channel, self.channel = self.channel, None
        self._detached()
        if channel is not None:
            await _close(channel)

    def _wanted_frames(self) -> int:
        if self.queue in JOB_QUEUES_ONE_BY_ONE:
            return self._prefetch
        average = self._average or _FIRST_GUESS
        return max(_LEAST_FRAMES, min(self._prefetch, round(self._prefetch / average)))

    async def adapt(self) -> None:
        """Subscribe with another prefetch when frames have become much fuller or emptier."""
        channel, wanted = self.channel, self._wanted_frames()
        if channel is None or self._ended or 0.5 < wanted / max(1, self._frames_ahead) < 2:
            return
        await channel.basic_cancel(self._tags[self.queue], timeout=ANSWER_SECONDS)
        await self._consume_ahead(channel)

    async def end(self) -> bool:
        """Nothing more comes; True: the channel is there still, and what came can be settled."""
        self._ended = True
        if self._staying is not None:
            self._staying.cancel()
            await asyncio.gather(self._staying, return_exceptions=True)
        if self.channel is None or self.channel.is_closed:
            return False
        for tag in self._tags.values():
            await self.channel.basic_cancel(tag, timeout=ANSWER_SECONDS)
        return True

    async def close(self) -> None:
        """Close the channel: the broker gives what is not acked to somebody else."""
        channel, self.channel = self.channel, None
        if channel is not None:
            await _close(channel)


async def _close(channel: AbstractChannel) -> None:
    if channel.is_closed:
        return
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await channel.close()
    except BaseException as error:
        if not lost(error):
            raise
