"""What becomes of each recipient: pure functions from a job and the directory's answers."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from libs.common.accounts import Targets
from libs.common.accounts.account import split_address
from libs.common.accounts.srs import Srs
from libs.common.jobs import (
    DeliveryJob,
    Envelope,
    Origin,
    Recipient,
    RelayJob,
    StorageJob,
    Target,
)
from libs.common.jobs.received import received
from services.delivery.arrival import Arrival, Claim, Notice

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
    ended: list[tuple[Recipient, str, str]] = field(default_factory=list)
    """Recipients whose script kept the message nowhere: state and why."""
    steps: list[tuple[int, str, str]] = field(default_factory=list)
    """What scripts did, for the trace: ordinal, address of the account, and what."""
    notices: list[Notice] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


def route(
    job: DeliveryJob,
    found: Mapping[str, Targets],
    here: Mapping[int, Arrival],
    srs: Srs | None = None,
) -> Route:
    """Split the recipients of a message into mailboxes and next hops."""
    result = Route()
    domains: dict[str, list[int]] = {}
    outside: dict[str, list[Recipient]] = {}
    for recipient in job.header.envelope.recipients:
        targets = found[recipient.address]
        if targets.unknown:
            result.gone.append(recipient)
        for address in targets.remote:
            if address == recipient.address:
                domains.setdefault(split_address(address)[1], []).append(recipient.n)
            else:
                outside.setdefault(address, []).append(recipient)
    result.storage = _storage(job, here)
    result.relays = [
        RelayJob(job.blob, job.header, job.size, domain, tuple(ns))
        for domain, ns in sorted(domains.items())
    ]
    kept = {n for arrival in here.values() if arrival.copies for n in arrival.ns}
    by_n = {r.n: r for r in job.header.envelope.recipients}
    for arrival in here.values():
        for address in arrival.remote:
            known = outside.setdefault(address, [])
            known += [by_n[n] for n in arrival.ns if by_n[n] not in known]
    if outside:
        _forward(job, outside, kept, result, srs)
    _note(by_n, here, kept, result)
    return result


def forwards(job: DeliveryJob, found: Mapping[str, Targets], here: Mapping[int, Arrival]) -> bool:
    """Does it go on to an address elsewhere that is not the recipient's own?"""
    if any(arrival.remote for arrival in here.values()):
        return True
    names = (recipient.address for recipient in job.header.envelope.recipients)
    return any(one != name for name in names for one in found[name].remote)


def _note(
    by_n: Mapping[int, Recipient],
    here: Mapping[int, Arrival],
    kept: set[int],
    result: Route,
) -> None:
    """What scripts did, and the end of recipients that they kept nowhere."""
    ended = kept | {recipient.n for recipient, _ in result.forwarded}
    # Refused counts more than discarded: somebody is told of it.
    for arrival in sorted(here.values(), key=lambda one: one.state):
        result.notices += arrival.notices
        result.claims += arrival.claims
        result.steps += [(arrival.ns[0], arrival.address, why) for why in arrival.steps]
        for n in arrival.ns if arrival.state else ():
            if n not in ended:
                ended.add(n)
                result.ended.append((by_n[n], arrival.state, arrival.why))


def _storage(job: DeliveryJob, here: Mapping[int, Arrival]) -> StorageJob | None:
    targets = []
    for account in sorted(here):
        arrival = here[account]
        if arrival.copies:
            ns, first = tuple(arrival.ns), prefix(job, arrival.address)
            targets += [
                Target(account, ns, copy.mailbox, copy.flags, first, copy.create, copy.special_use)
                for copy in arrival.copies
            ]
    if not targets:
        return None
    header = job.header
    named = {n for target in targets for n in target.recipients}
    addresses = tuple((r.n, r.address) for r in header.envelope.recipients if r.n in named)
    return StorageJob(
        header.mail_id,
        header.received_at,
        job.size,
        tuple(targets),
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


def _forward(
    job: DeliveryJob,
    outside: dict[str, list[Recipient]],
    local: set[int],
    result: Route,
    srs: Srs | None,
) -> None:
    """One child message for each address elsewhere that an alias or a script names."""
    path, now = job.header.envelope.reverse_path, job.header.received_at
    for address, recipients in sorted(outside.items()):
        child = str(uuid.uuid5(_CHILDREN, f"{job.header.mail_id} {address}"))
        domain = split_address(address)[1].lower()
        envelope = Envelope(
            srs.forwarded(path, recipients[0].address, now) if srs else path,
            (Recipient(0, address),),
            body=job.header.envelope.body,
            smtputf8=job.header.envelope.smtputf8,
            requiretls=job.header.envelope.requiretls,
        )
        header = msgspec.structs.replace(
            job.header,
            mail_id=child,
            origin=Origin.CHILD,
            envelope=envelope,
            # Whoever sees it again here knows that it was here before (I13).
            fields=f"Delivered-To: {recipients[0].address}\r\n",
            parent=job.header.mail_id,
        )
        result.forwards.append(RelayJob(job.blob, header, job.size, domain, (0,)))
        named = {recipient.n for recipient, _ in result.forwarded}
        result.forwarded += [
            (r, child) for r in recipients if r.n not in local and r.n not in named
        ]
