"""The header of a record: enough to redo every decision from the segment alone."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from libs.common.jobs.envelope import Client, Envelope


class Origin(StrEnum):
    """How a message came to us.

    `smtp` and `api` records are swept.  `dsn` and `child` ones belong to the row that made them
    (`effect`, `deferred`), and are swept only when one does; without it they are orphans for GC.
    """

    SMTP = "smtp"
    API = "api"
    IMAP = "imap"
    DSN = "dsn"
    CHILD = "child"


class RecordHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ingress knew when it took the message."""

    mail_id: str
    received_at: float
    """Seconds since the epoch (UTC)."""
    envelope: Envelope
    origin: Origin = Origin.SMTP
    tenant: int = 1
    listener: str = ""
    """The listener that took it: mx, submission, submissions, lmtp."""
    hostname: str = ""
    """Our own name, as in the Received field."""
    client: Client = Client()
    policy: tuple[str, ...] = ()
    """Decisions taken before DATA, as `rule=outcome`."""
    parent: str = ""
    """The mail_id of the message that caused this one (dsn, child)."""
    fields: str = ""
    """Header fields that stand on top when it leaves, each ended by CRLF (child)."""
    traceparent: str = ""
    """The OpenTelemetry context (W3C Trace Context); empty when tracing is off."""
    ver: int = 1


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecordHeader)


def encode_header(header: RecordHeader) -> bytes:
    """The header as JSON, as it is stored behind the content."""
    return _encoder.encode(header)


def decode_header(raw: bytes) -> RecordHeader:
    """Raises `msgspec.MsgspecError` when it is not one of ours."""
    return _decoder.decode(raw)
