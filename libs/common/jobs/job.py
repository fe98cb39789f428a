"""The jobs, one structure for each queue.

filter -> delivery -> storage and relay; learn is for filter as well.  A job holds ids and the
envelope, never content.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from libs.common.blobstore.protocol import BlobRef
from libs.common.jobs.record import RecordHeader
from libs.common.jobs.verdict import Verdict


class FilterJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="filter"):
    """Look at this message and decide."""

    blob: BlobRef
    header: RecordHeader
    reply_to: str = ""
    """Where ingress waits for the verdict; empty when nobody waits."""
    swept: int = 0
    """How often the sweeper has put this job again."""
    ver: int = 1


class DeliveryJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="delivery"):
    """Find the targets of every recipient of this message."""

    blob: BlobRef
    header: RecordHeader
    size: int
    """Octets of content."""
    verdict: Verdict = Verdict.ACCEPT
    prefix: str = ""
    """Trace fields that filter adds (Authentication-Results, ...), each ended by CRLF."""
    disguised: tuple[int, ...] = ()
    """Offsets of forged fields (libs.protocols.message.disguise)."""
    release: str = ""
    """Not empty when held mail is let go: the same message is then delivered in several steps."""
    ver: int = 1

    @property
    def plan_id(self) -> str:
        """Under which name its plan is kept: one for each step."""
        mail_id = self.header.mail_id
        return f"{mail_id} {self.release}" if self.release else mail_id


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """One mailbox of one account."""

    account: int
    recipients: tuple[int, ...]
    """The ordinals whose outcome this target finishes."""
    mailbox: str = "INBOX"
    flags: tuple[str, ...] = ()
    prefix: str = ""
    """Return-Path, Delivered-To, Received and so on, as IMAP shows them before the content."""
    create: bool = False
    """Make the mailbox when there is none (RFC 5490 §3.2)."""
    special_use: str = ""
    """Its use when it is made (RFC 8579 §4)."""


class StorageJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="storage"):
    """Append this message to these mailboxes."""

    mail_id: str
    received_at: float
    size: int
    targets: tuple[Target, ...]
    addresses: tuple[tuple[int, str], ...] = ()
    """(ordinal, address) of every recipient named by a target, for outcome and trace."""
    tenant: int = 1
    traceparent: str = ""
    """As in the record header."""
    ver: int = 1


class RelayJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="relay"):
    """Hand this message to the next hop of one domain."""

    blob: BlobRef
    header: RecordHeader
    size: int
    domain: str
    recipients: tuple[int, ...]
    """Ordinals of the envelope's recipients in this domain."""
    ver: int = 1


class LearnJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="learn"):
    """Teach the spam engines: the owner of an account wants this message, or does not."""

    mail_id: str
    account: int
    spam: bool
    ver: int = 1


class VerdictReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict, to the ingress process that waits for it (`Queue.reply`)."""

    mail_id: str
    verdict: Verdict
    text: str = ""
    """Why, in words fit for an SMTP reply."""


ENGINES = "engines"
"""The topic on which filter tells of its scanners (`Queue.broadcast`)."""


class EngineNotice(msgspec.Struct, frozen=True, omit_defaults=True):
    """No scanner answers, and mail waits for one; or one answers again.

    Said anew every few seconds while it holds, so that a filter that died refuses nothing for long.
    """

    down: bool
    reason: str = ""


T = TypeVar("T", bound=msgspec.Struct)

Job = FilterJob | DeliveryJob | StorageJob | RelayJob | LearnJob

_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def encode(job: msgspec.Struct) -> bytes:
    """The JSON form of a job."""
    return _encoder.encode(job)


def decode(body: bytes, kind: type[T]) -> T:
    """A job of the kind that its queue holds; `msgspec.MsgspecError` when it is not one."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder.decode(body)  # type: ignore[no-any-return]
