"""What becomes of each recipient: pure functions from a job and the directory's answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import msgspec

from libs.common.accounts import Targets
from libs.common.accounts.account import split_address
from libs.common.jobs import (
    DeliveryJob,
    Envelope,
    Origin,
    Recipient,
    RecordHeader,
    RelayJob,
    StorageJob,
    Target,
    Verdict,
)
from libs.protocols.message.received import received_field

_CHILDREN = uuid.UUID("6d1b9b0e-6c0f-5f0a-9a53-5a1c3a3c9d11")
"""Namespace of the mail_ids of forwards, so that a repeated job makes the same child."""


@dataclass(slots=True)
class Route:
    """Everything that one message turns into."""

    storage: StorageJob | None = None
    relays: list[RelayJob] = field(default_factory=list)
    forwards: list[RelayJob] = field(default_factory=list)
    forwarded: list[tuple[Recipient, str]] = field(default_factory=list)
    """Recipients that are only forwarded, and the mail_id that goes on for them."""
    gone: list[Recipient] = field(default_factory=list)
    """Recipients that were known at RCPT and are not any more."""


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored before the fan-out, and reused when the job comes again."""

    storage: StorageJob | None = None
    relays: tuple[RelayJob, ...] = ()
    ver: int = 1


def route(job: DeliveryJob, found: dict[str, Targets]) -> Route:
    """Split the recipients of a message into mailboxes and next hops."""
    result = Route()
    local: dict[int, list[int]] = {}
    delivered_to: dict[int, str] = {}
    domains: dict[str, list[int]] = {}
    outside: dict[str, list[Recipient]] = {}
    for recipient in job.header.envelope.recipients:
        targets = found[recipient.address]
        if targets.unknown:
            result.gone.append(recipient)
        for account_id, address in targets.accounts:
            local.setdefault(account_id, []).append(recipient.n)
            delivered_to[account_id] = address
        for address in targets.remote:
            if address == recipient.address:
                domains.setdefault(split_address(address)[1], []).append(recipient.n)
            else:
                outside.setdefault(address, []).append(recipient)
    result.storage = _storage(job, local, delivered_to)
    result.relays = [
        RelayJob(job.blob, job.header, job.size, domain, tuple(ns))
        for domain, ns in sorted(domains.items())
    ]
    _forward(job, outside, {n for ns in local.values() for n in ns}, result)
    return result


def _storage(
    job: DeliveryJob, local: dict[int, list[int]], delivered_to: dict[int, str]
) -> StorageJob | None:
    if not local:
        return None
    mailbox = "Junk" if job.verdict is Verdict.JUNK else "INBOX"
    header = job.header
    targets = tuple(
        Target(account, tuple(ns), mailbox, (), prefix(job, delivered_to[account]))
        for account, ns in sorted(local.items())
    )
    named = {n for target in targets for n in target.recipients}
    addresses = tuple((r.n, r.address) for r in header.envelope.recipients if r.n in named)
    return StorageJob(
        header.mail_id,
        header.received_at,
        job.size,
        targets,
        addresses,
        header.tenant,
        header.traceparent,
    )


def prefix(job: DeliveryJob, delivered_to: str) -> str:
    """The trace fields that stand before the content in a mailbox.

    Return-Path is the reverse-path, added at final delivery (RFC 5321 §4.4).
    """
    path = f"Return-Path: <{job.header.envelope.reverse_path}>\r\n"
    return f"{path}Delivered-To: {delivered_to}\r\n{job.prefix}{received(job.header)}"


def received(header: RecordHeader) -> str:
    """Our Received field, made from the record header alone (RFC 5321 §4.4)."""
    recipients = header.envelope.recipients
    raw = received_field(
        helo=header.client.helo,
        rdns=header.client.rdns,
        ip=header.client.ip,
        by=header.hostname,
        protocol=header.client.protocol,
        mail_id=header.mail_id,
        # Naming one of several recipients would tell the others of it (RFC 5321 §7.2).
        recipient=recipients[0].address if len(recipients) == 1 else None,
        at=header.received_at,
        tls=header.client.tls,
    )
    return raw.decode("latin-1")


def _forward(
    job: DeliveryJob, outside: dict[str, list[Recipient]], local: set[int], result: Route
) -> None:
    """One child message for each address elsewhere that an alias names."""
    for address, recipients in sorted(outside.items()):
        child = str(uuid.uuid5(_CHILDREN, f"{job.header.mail_id} {address}"))
        domain = split_address(address)[1].lower()
        envelope = Envelope(
            job.header.envelope.reverse_path,
            (Recipient(0, address),),
            body=job.header.envelope.body,
            smtputf8=job.header.envelope.smtputf8,
        )
        header = msgspec.structs.replace(
            job.header,
            mail_id=child,
            origin=Origin.CHILD,
            envelope=envelope,
            parent=job.header.mail_id,
        )
        result.forwards.append(RelayJob(job.blob, header, job.size, domain, (0,)))
        named = {recipient.n for recipient, _ in result.forwarded}
        result.forwarded += [
            (r, child) for r in recipients if r.n not in local and r.n not in named
        ]
