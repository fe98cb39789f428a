"""Which failures make which bounce: decisions first, then the report itself."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from enum import StrEnum

from libs.common.jobs import Envelope, Origin, Recipient, RecordHeader
from libs.protocols.message.dsn import Failure, compose_dsn
from services.relay.fate import Fate


class Kind(StrEnum):
    """`effect.kind`: at most one report of each kind for each recipient, for ever."""

    RELAYED = "dsn_relayed"
    DELAYED = "dsn_delay"
    FAILED = "dsn_fail"


_CHILDREN = uuid.UUID("0b0f4a5e-3f0b-5d4e-9d8a-7f1f6f2f7c55")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_ACTIONS = {Kind.RELAYED: "relayed", Kind.DELAYED: "delayed", Kind.FAILED: "failed"}
# RFC 3464 §2.3.4: what has failed for good is 5.y.z, also when it was 4.y.z for five days.
_CLASSES = {Kind.RELAYED: "2", Kind.DELAYED: "4", Kind.FAILED: "5"}


class Notice(StrEnum):
    """Who is told that a recipient failed."""

    SENDER = "sender"
    """A DSN goes to the reverse-path."""
    NOBODY = "nobody"
    """The sender did not want to be told."""
    OPERATOR = "operator"
    """The recipient is quarantined: a DSN might go to somebody who never wrote (I9)."""


def whom_to_tell(header: RecordHeader, recipient: Recipient) -> Notice:
    """A DSN only to a sender whom we know, and never for a DSN (RFC 5321 §4.5.5)."""
    if not is_known(header):
        return Notice.OPERATOR
    return Notice.SENDER if "FAILURE" in _wanted(recipient) else Notice.NOBODY


def _wanted(recipient: Recipient) -> list[str]:
    """What the sender wants to hear of; of failures and delays when he did not say (RFC 3461 §4.1).

    Whoever uses neither NOTIFY nor knows of it expects that he is told when mail waits long.
    """
    return recipient.notify.upper().split(",") if recipient.notify else ["FAILURE", "DELAY"]


def is_known(header: RecordHeader) -> bool:
    """Whether the reverse-path is surely the sender's own, who may be told (I9)."""
    authenticated = header.client.account != 0 or header.origin is Origin.API
    return bool(header.envelope.reverse_path) and authenticated


def wants_success(header: RecordHeader, recipient: Recipient) -> bool:
    """The sender asked to hear of success."""
    return is_known(header) and "SUCCESS" in _wanted(recipient)


def wants_delay(header: RecordHeader, recipient: Recipient) -> bool:
    """The sender asked to hear of delays, or did not say what to hear of."""
    return is_known(header) and "DELAY" in _wanted(recipient)


def child_id(mail_id: str, ns: Sequence[int], kind: Kind) -> str:
    """The mail_id of the DSN about these recipients: a repeated attempt makes the same one."""
    return str(uuid.uuid5(_CHILDREN, f"{mail_id} {kind} {','.join(map(str, sorted(ns)))}"))


def dsn_header(parent: RecordHeader, child: str, hostname: str, now: float) -> RecordHeader:
    """The record header of a DSN: from nobody, to the reverse-path."""
    return RecordHeader(
        mail_id=child,
        received_at=now,
        # RFC 8689 §5: a report tells of the message, so it is protected as the message was.
        envelope=Envelope(
            "",
            (Recipient(0, parent.envelope.reverse_path, notify="NEVER"),),
            requiretls=parent.envelope.requiretls,
        ),
        origin=Origin.DSN,
        tenant=parent.tenant,
        hostname=hostname,
        parent=parent.mail_id,
    )


def report(
    header: RecordHeader,
    told: Sequence[tuple[Recipient, Fate]],
    *,
    kind: Kind,
    retry_until: float,
    child: str,
    hostname: str,
    now: float,
    original_header: bytes,
) -> bytes:
    """The DSN, complete (RFC 3464)."""
    return compose_dsn(
        action=_ACTIONS[kind],
        failures=[
            Failure(
                recipient.address,
                _CLASSES[kind] + fate.status[1:],
                fate.text,
                remote_host=fate.host.rpartition(":")[0].strip("[]"),
                original_recipient=xtext_decoded(recipient.orcpt),
                last_attempt_at=now,
                retry_until=retry_until if kind is Kind.DELAYED else None,
            )
            for recipient, fate in told
        ],
        reporting_host=hostname,
        sender_address=f"MAILER-DAEMON@{hostname}",
        recipient=header.envelope.reverse_path,
        message_id=f"<{child}@{hostname}>",
        boundary=child,
        at=now,
        arrived_at=header.received_at,
        envelope_id=xtext_decoded(header.envelope.envid),
        mail_id=header.mail_id,
        original_header=original_header,
    )


def xtext_decoded(text: str) -> str:
    """What `+2B` and the like stand for (RFC 3461 §4)."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)
