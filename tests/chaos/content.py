"""The messages that are sent: made from a seed, each with its own marker as its first line."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from dataclasses import dataclass
from enum import StrEnum

from tests.servers.clamd import EICAR

MARKER = re.compile(rb"^X-Ledger: (?P<run>[0-9a-z]+)/(?P<seq>\d+)\r\n", re.MULTILINE)
"""Where the content begins behind the prefix that the platform adds."""

_POOL = base64.encodebytes(random.Random(7).randbytes(1_500_000)).replace(b"\n", b"\r\n")


class Kind(StrEnum):
    """What is special about a message."""

    PLAIN = "plain"
    VIRUS = "virus"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class Mix:
    """How many messages of 100 are small, middling and large, and how large large is."""

    small: int = 75
    middling: int = 20
    largest: int = 600_000

    def size(self, rng: random.Random) -> int:
        """Octets of body for one message."""
        lot = rng.randrange(100)
        if lot < self.small:
            return rng.randrange(2_000, 20_000)
        if lot < self.small + self.middling:
            return rng.randrange(20_000, 200_000)
        return rng.randrange(200_000, self.largest)


@dataclass(frozen=True, slots=True)
class Message:
    """One message to send: everything about it follows from the seed and `seq`."""

    seq: int
    kind: Kind
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the content, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """Who writes to whom in a run."""

    run: str
    seed: int
    accounts: tuple[str, ...]
    sender: str
    """The account that submits what goes out, and so gets the DSNs."""
    outside: str
    """The domain behind the outbound sink."""
    mix: Mix = Mix()
    virus_percent: int = 3
    outbound_percent: int = 15

    def message(self, seq: int) -> Message:
        """The message number `seq` of this run."""
        rng = random.Random(f"{self.seed}/{seq}")
        lot = rng.randrange(100)
        size = self.mix.size(rng)
        if lot < self.virus_percent:
            kind, size = Kind.VIRUS, min(size, 20_000)
        elif lot < self.virus_percent + self.outbound_percent:
            kind = Kind.OUTBOUND
        else:
            kind = Kind.PLAIN
        if kind is Kind.OUTBOUND:
            reverse_path, recipients = self.sender, self._outside(rng, seq)
        else:
            reverse_path = f"author{seq}@elsewhere.test"
            recipients = tuple(rng.sample(self.accounts, rng.choice((1, 1, 1, 2, 3))))
        content = self._content(seq, kind, reverse_path, recipients, size, rng)
        return Message(seq, kind, reverse_path, recipients, content)

    def _outside(self, rng: random.Random, seq: int) -> tuple[str, ...]:
        # The local-part is the sink's script; see `sink.py`.
        words = rng.sample(("ok", "later", "never", "drop"), rng.choice((1, 1, 2)))
        return tuple(f"{word}-{self.run}-{seq}@{self.outside}" for word in words)

    def _content(
        self,
        seq: int,
        kind: Kind,
        reverse_path: str,
        recipients: tuple[str, ...],
        size: int,
        rng: random.Random,
    ) -> bytes:
        head = (
            f"X-Ledger: {self.run}/{seq}\r\n"
            f"From: <{reverse_path}>\r\n"
            f"To: {', '.join(f'<{address}>' for address in recipients)}\r\n"
            f"Subject: number {seq} of run {self.run}\r\n"
            "Date: Mon, 01 Jun 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{self.run}.{seq}@elsewhere.test>\r\n\r\n"
        ).encode()
        start = rng.randrange(0, max(1, len(_POOL) - size))
        # Whole lines only, and some that begin with dots: what stuffing must bring through.
        body = _POOL[start : start + size].rpartition(b"\r\n")[0].partition(b"\r\n")[2]
        virus = EICAR + b"\r\n" if kind is Kind.VIRUS else b""
        return head + virus + b".\r\n..two\r\n" + body + b"\r\n.last\r\n"


def stuffed(content: bytes) -> bytes:
    """The content as it goes over the wire, without the final dot (RFC 5321 §4.5.2)."""
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
