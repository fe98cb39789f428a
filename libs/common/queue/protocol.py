"""What a queue promises, whichever backend keeps the jobs.

A job is a few hundred octets (ids and an envelope, never content).  It is handed out as
a *lease*, which its holder settles by `ack`, `requeue` or `park`; a lease whose process
dies comes again.  Jobs that wait together travel as one frame, which callers never see.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

QUEUES = ("filter", "delivery", "storage", "relay", "learn")
"""Every queue of work there is: the one list for topology, metrics and scaling."""

JOB_QUEUES_ONE_BY_ONE = frozenset({"relay"})
"""Queues whose jobs travel alone: a frame is only acked when its slowest job is."""


class QueueError(Exception):
    """The queue cannot do this now: not confirmed in time, refused, or not connected."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much a queue holds, in jobs (ready and leased)."""

    jobs: int
    oldest_seconds: float
    """Age of the oldest job; 0 when empty."""


class Lease(Protocol):
    """A job that we hold until it is settled."""

    body: bytes
    attempt: int
    """0 at first; counts requeues and, as far as the backend can tell, crashes."""
    suspect: bool
    """True when it comes again after its holder died: handle it alone."""

    async def ack(self) -> None:
        """Done: the job will not come again (a lost ack may bring it again)."""
        ...

    async def requeue(self, delay: float = 0.0) -> None:
        """Put it back, to come again after `delay` seconds with `attempt` + 1."""
        ...


class Consumer(Protocol):
    """A subscription to one queue, which comes back by itself after broker restarts."""

    async def take(self, most: int) -> Sequence[Lease]:
        """Wait for a job; give it and what else is here already, up to `most`.

        Suspect leases are given one at a time.
        """
        ...

    async def close(self) -> None:
        """Stop taking; jobs that are not settled by now go back at once, as they are."""
        ...


class Queue(Protocol):
    """Durable queues of jobs, broadcasts, and transient replies."""

    async def put(self, queue: str, jobs: Sequence[bytes]) -> None:
        """Make jobs durable; on return they are.  `QueueError` when that is not known."""
        ...

    async def consume(self, queue: str, prefetch: int) -> Consumer:
        """Subscribe; at most `prefetch` jobs are leased and unsettled at a time."""
        ...

    async def depth(self, queue: str) -> Depth:
        """Jobs waiting and leased."""
        ...

    async def broadcast(self, topic: str, body: bytes) -> None:
        """Tell every listener of `topic` in every process; a hint that may be lost."""
        ...

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """What is broadcast on `topic` from now on."""
        ...

    async def reply_address(self) -> str:
        """The address at which this process takes replies (stable while it lives)."""
        ...

    async def reply(self, address: str, bodies: Sequence[bytes]) -> None:
        """Send transient answers to the process that asked; lossy by contract, never raises."""
        ...

    def replies(self) -> AsyncIterator[bytes]:
        """The answers sent to our `reply_address`."""
        ...

    async def healthy(self) -> bool:
        """Can jobs be put right now?  (For readiness and the circuit breaker.)"""
        ...

    async def drain_parked(self, park: Callable[[str, Lease, str], Awaitable[None]]) -> int:
        """Hand what the backend put aside by itself to `park(queue, job, reason)`; how many.

        These are frames that nobody can read and jobs that came too often: they stay where
        they are until `park` has returned.
        """
        ...

    async def close(self) -> None:
        """Flush what waits and disconnect."""
        ...
