"""Signing what leaves with DKIM: which messages, with whose keys, and the fields themselves.

The stored content stays as it is: the fields are made for the very octets that one host gets, and
go before them.  Keys are kept in the process, so a message costs no query and one signature.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select

from libs.common.accounts.account import split_address
from libs.common.accounts.dkim_keys import use_of
from libs.common.db import Database, DatabaseUnavailable
from libs.common.db.bulk import in_list
from libs.common.db.schema import dkim_key, domain
from libs.common.jobs import Origin, RecordHeader
from libs.common.runtime.sealer import SealBroken, Sealer
from libs.common.senderauth import BodyHash, Signer, dkim_fields
from libs.protocols.message.author import read_author
from libs.protocols.message.header import parse_header
from services.relay.outgoing import LineEnds
from services.relay.transaction import Parcel

FRESH_SECONDS = 30.0
MOST_DOMAINS = 10_000
MOST_FIELDS = 256
"""Signed messages that are remembered: one to many domains is signed once."""
_SIGNED = Counter(
    "holub_relay_signed_total", "Messages handed over, by DKIM signature.", ["result"]
)


class KeyUnreadable(Exception):
    """A key of the domain cannot be opened, so its mail has to wait: see the text."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What is known of one domain."""

    until: float
    tenant: int = 0
    signers: tuple[Signer, ...] = ()
    broken: str = ""


class Signing:
    """Signs; one per process."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._known: dict[str, _Keys] = {}
        self._opened: dict[int, Signer] = {}
        self._fields: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    async def signers(self, header: RecordHeader, head: bytes) -> tuple[Signer, ...]:
        """Who signs a message with this header section; empty: nobody.

        Only what an account of ours sent, or we ourselves: for others we do not vouch.  The keys
        are those of the author's domain or of the nearest domain above it, which is what DMARC
        looks at; else those of the reverse-path.  `KeyUnreadable`, `DatabaseUnavailable`.
        """
        ours = header.origin is Origin.DSN
        if not (ours or header.client.account or header.origin is Origin.API):
            return ()
        names = candidates(header, head)
        await self._load([n for n in names if self._until(n) <= time.monotonic()])
        for name in names:
            keys = self._known[name]
            # Another tenant's domain in From is forged, as far as we know.
            if not (ours or keys.tenant == header.tenant):
                continue
            if keys.signers:
                return keys.signers
            if keys.broken:
                raise KeyUnreadable(keys.broken)
        return ()

    def _until(self, name: str) -> float:
        known = self._known.get(name)
        return known.until if known else 0.0

    async def _load(self, names: Sequence[str]) -> None:
        if not names:
            return
        query = (
            select(domain.c.name, domain.c.tenant_id, dkim_key)
            .join(dkim_key, dkim_key.c.domain_id == domain.c.id)
            .where(in_list(domain.c.name, names, self._database.dialect))
            .where(dkim_key.c.state == "signing")
            .order_by(dkim_key.c.id)
        )
        try:
            async with self._database.reading() as transaction:
                rows = await transaction.rows(query)
        except DatabaseUnavailable:
            if all(name in self._known for name in names):
                # What was right a minute ago is better than no mail.
                return
            raise
        if len(self._known) > MOST_DOMAINS:
            self._known.clear()
            self._opened.clear()
        for name in names:
            self._known[name] = self._open([row for row in rows if row.name == name])

    def _open(self, rows: Sequence[Any]) -> _Keys:
        until = time.monotonic() + FRESH_SECONDS
        if not rows:
            return _Keys(until)
        signers, broken = [], ""
        for row in rows:
            try:
                signers.append(self._signer(row))
            except (SealBroken, ValueError) as error:
                broken = str(error)
        return _Keys(until, rows[0].tenant_id, tuple(signers), broken)

    def _signer(self, row: Any) -> Signer:
        """Opened once: reading a key costs more than signing with it."""
        known = self._opened.get(row.id)
        if known is None:
            der = self._sealer.open(bytes(row.private_key), use_of(row.name, row.selector))
            known = self._opened[row.id] = Signer.load_der(row.name, row.selector, der)
        return known

    async def fields(self, mail_id: str, signers: Sequence[Signer], parcel: Parcel) -> bytes:
        """The DKIM-Signature fields for a parcel as one host gets it."""
        # Octets differ where content was made 7-bit, and then its size does.
        key = (mail_id, parcel.size, parcel.head, *(signer.selector for signer in signers))
        known = self._fields.get(key)
        if known is None:
            ends, body = LineEnds(), BodyHash()
            head = ends.feed(parcel.head)
            async for block in parcel.rest():
                body.feed(ends.feed(block))
            body.feed(ends.finish())
            known = await asyncio.to_thread(_sign, head, signers, body)
            self._fields[key] = known
            if len(self._fields) > MOST_FIELDS:
                self._fields.popitem(last=False)
        _SIGNED.labels("signed" if known else "no author").inc()
        return known


def _sign(head: bytes, signers: Sequence[Signer], body: BodyHash) -> bytes:
    try:
        return dkim_fields(head, signers, int(time.time()), body.digest())
    except ValueError:
        # Without From there is nothing that a signature could speak for (RFC 6376 §5.4).
        return b""


def candidates(header: RecordHeader, head: bytes) -> list[str]:
    """The domains whose keys may sign, the best first."""
    author = read_author(parse_header(head)).domain
    names = [author, split_address(header.envelope.reverse_path)[1].lower()]
    found = [above for name in names if name for above in _with_parents(name)]
    return list(dict.fromkeys(found))


def _with_parents(name: str) -> list[str]:
    """The domain and those above it, up to two labels: aligned with it in DMARC's relaxed sense."""
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        return []
    labels = name.rstrip(".").split(".")[-10:]
    return [".".join(labels[at:]) for at in range(max(len(labels) - 1, 1))]
