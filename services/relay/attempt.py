"""One attempt: the message of a claim to one next hop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from libs.common.blobstore.protocol import BlobError, BlobStore
from libs.common.jobs import Recipient, RecordHeader, RelayJob
from services.relay.claim import Claim, Unit
from services.relay.fate import Fate, deferred
from services.relay.mx import RouteFailed
from services.relay.next_hop import NextHop, proving
from services.relay.outgoing import outgoing_head, split_head
from services.relay.signing import KeyUnreadable, Signing
from services.relay.smtp_client import Connection, ConnectionLost, Connections
from services.relay.transaction import NotBegun, Parcel, transact

WHOLE_OCTETS = 1024 * 1024
"""Content up to this size is read as one, and verified; a larger one is read in blocks."""
BLOCK_OCTETS = 256 * 1024
Sign = Callable[[Parcel], Awaitable[bytes]]


class Route(Protocol):
    """Knows the hosts of a domain."""

    async def hops(self, domain: str) -> Sequence[NextHop]:
        """Hosts to try, in this order; `RouteFailed` when there is none."""
        ...


@dataclass(slots=True)
class Attempt:
    """A claim under way."""

    claim: Claim
    waiting: list[Unit] = field(default_factory=list)
    """Units without a recorded result."""
    dotted: bool = False
    """A final dot may have been sent: the outcome must not be given up."""

    def __post_init__(self) -> None:
        self.waiting = list(self.claim.units)


class Attempter:
    """Makes attempts; one per process."""

    def __init__(
        self,
        blobs: BlobStore,
        connections: Connections,
        route: Route,
        *,
        seconds: float,
        signing: Signing | None = None,
    ) -> None:
        self._blobs = blobs
        self._signing = signing
        self._connections = connections
        self._route = route
        self._seconds = seconds

    async def run(
        self, attempt: Attempt, units: Sequence[Unit], fence: Callable[[], Awaitable[None]]
    ) -> dict[int, Fate]:
        """A fate for each of these units, at most 100; raises `FenceLost`."""
        group = tuple(attempt.claim.recipient(unit.n) for unit in units)
        domain = attempt.claim.job.domain
        try:
            async with asyncio.timeout(self._seconds) as limit:

                async def before_dot() -> None:
                    await fence()
                    # From here the reply has a time limit of its own, and must be waited for.
                    limit.reschedule(None)
                    attempt.dotted = True

                hops = await self._route.hops(domain)
                if attempt.claim.job.header.envelope.requiretls:
                    hops = [proving(hop) for hop in hops]
                parcel = await self._parcel(attempt.claim.job, group, before_dot)
                return await self._try_in_turn(hops, parcel)
        except RouteFailed as failed:
            return _all(group, failed.fate)
        except TimeoutError:
            return _all(group, _late(self._seconds, domain))
        except KeyUnreadable as error:
            return _all(group, deferred("4.3.0", f"a fault of ours: {error}"))
        except BlobError as error:
            return _all(group, deferred("4.3.0", f"our store does not give the message: {error}"))

    async def _try_in_turn(self, hops: Sequence[NextHop], parcel: Parcel) -> dict[int, Fate]:
        """The first host that lets us begin decides; one that does not is no verdict."""
        fates: dict[int, Fate] = {}
        for hop in hops:
            try:
                return await self._hand_over(hop, parcel)
            except (ConnectionLost, NotBegun) as error:
                status = getattr(error, "status", "4.4.1")
                why = deferred(status, str(error), str(hop), general=True)
                fates = _all(parcel.recipients, why)
        return fates

    async def _hand_over(self, hop: NextHop, parcel: Parcel) -> dict[int, Fate]:
        connection = await self._connections.take(hop)
        if connection.transactions:
            try:
                return await self._transact(connection, parcel)
            except NotBegun:
                # It was closed while it waited for us; that says nothing about the host.
                connection = await self._connections.take(hop, fresh=True)
        return await self._transact(connection, parcel)

    async def _transact(self, connection: Connection, parcel: Parcel) -> dict[int, Fate]:
        fates = await transact(connection, parcel)
        self._connections.give_back(connection)
        return fates

    async def _parcel(
        self,
        job: RelayJob,
        group: tuple[Recipient, ...],
        fence: Callable[[], Awaitable[None]],
    ) -> Parcel:
        if job.size <= WHOLE_OCTETS:
            first = (await self._blobs.read(job.blob)).content
        else:
            first = await self._blobs.read_range(job.blob, 0, WHOLE_OCTETS)
        head, body = split_head(first)
        leaving = outgoing_head(job.header, head)

        async def rest() -> AsyncIterator[bytes]:
            yield body
            for start in range(len(first), job.size, BLOCK_OCTETS):
                stop = min(job.size, start + BLOCK_OCTETS)
                yield await self._blobs.read_range(job.blob, start, stop)

        size = job.size + len(leaving) - len(head)
        sign = await self._signed_by(job.header, leaving)
        return Parcel(job.header.envelope, group, size, leaving, rest, fence, sign)

    async def _signed_by(self, header: RecordHeader, head: bytes) -> Sign | None:
        signing = self._signing
        signers = await signing.signers(header, head) if signing else ()
        if signing is None or not signers:
            return None
        return lambda parcel: signing.fields(header.mail_id, signers, parcel)


def _late(seconds: float, domain: str) -> Fate:
    return deferred("4.4.2", f"not done in {seconds:.0f} s", domain, general=True)


def _all(group: tuple[Recipient, ...], fate: Fate) -> dict[int, Fate]:
    return {recipient.n: fate for recipient in group}
