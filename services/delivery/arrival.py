"""A message at an account: which mailboxes it goes to there, and what else follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from libs.common.accounts import Targets
from libs.common.db import Transaction
from libs.common.jobs import DeliveryJob, Verdict

Claim = Callable[[Transaction], Awaitable[bool]]
"""Whether a notice is to be sent at all, decided in the transaction that commits the plan."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy in one mailbox."""

    mailbox: str
    flags: tuple[str, ...] = ()
    create: bool = False
    """Make the mailbox when there is none."""
    special_use: str = ""
    """Its use when it is made."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of our own that a script causes: to the sender, or to the script's owner."""

    kind: str
    """`effect.kind`: at most one of it for each recipient of a message, for ever (I2 d)."""
    n: int
    child: str
    """Its mail_id, the same when the job comes again."""
    job: bytes
    """Its filter job; the record is stored already."""
    claim: Claim | None = None


@dataclass(slots=True)
class Arrival:
    """A message at one account."""

    account: int
    address: str
    ns: list[int]
    """Ordinals of the recipients that lead here."""
    copies: list[Copy]
    """None: it is not kept here."""
    state: str = ""
    """Without a copy: `discarded` or `bounced`; empty: it only goes on to others."""
    why: str = ""
    remote: list[str] = field(default_factory=list)
    """Addresses elsewhere that it is redirected to."""
    onward: list[int] = field(default_factory=list)
    """Accounts here that it is redirected to."""
    steps: list[str] = field(default_factory=list)
    """What its script did, for the trace."""
    notices: list[Notice] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    """What else is written with the plan."""


def usual_mailbox(job: DeliveryJob) -> str:
    """Where mail goes of which no script says anything else."""
    return "Junk" if job.verdict is Verdict.JUNK else "INBOX"


def arrivals(job: DeliveryJob, found: Mapping[str, Targets]) -> dict[int, Arrival]:
    """By account id; each account gets a message once, however many recipients lead to it."""
    here: dict[int, Arrival] = {}
    for recipient in job.header.envelope.recipients:
        for account, address in found[recipient.address].accounts:
            arrival = here.get(account)
            if arrival is None:
                here[account] = Arrival(account, address, [recipient.n], [Copy(usual_mailbox(job))])
            else:
                arrival.ns.append(recipient.n)
    return here


def join(job: DeliveryJob, here: Mapping[int, Arrival]) -> None:
    """After redirects: who leads where, and no circle of redirects swallows a message."""
    for _ in here:
        before = sum(len(one.ns) for one in here.values())
        for arrival in here.values():
            for account in arrival.onward:
                there = here[account]
                there.ns += [n for n in arrival.ns if n not in there.ns]
        if sum(len(one.ns) for one in here.values()) == before:
            break
    ending = {a.account for a in here.values() if a.copies or a.remote or a.state}
    while more := {
        a.account for a in here.values() if a.account not in ending and ending & {*a.onward}
    }:
        ending |= more
    for arrival in here.values():
        if arrival.account not in ending:
            arrival.copies = [Copy(usual_mailbox(job))]
            arrival.steps.append("kept, for these redirects lead in a circle")
