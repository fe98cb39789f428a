"""Sieve at delivery: scripts run before the plan is written, and what they ask for is the plan.

A script costs those nothing who have none: the directory's answer says whose mail has one to run.
Redirects to accounts here run their scripts too, each once for a message, so no circle is endless.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import update

from libs.common.accounts import Directory
from libs.common.accounts.account import canonical
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, Transaction
from libs.common.db.schema import sieve_script
from libs.common.jobs import DeliveryJob
from libs.common.mailstore import Mailbox
from libs.common.mailstore.folders import canonical_name, list_mailboxes
from libs.common.runtime.log import get_logger
from libs.protocols.message.disguise import disguise
from libs.protocols.message.header import header_end
from libs.protocols.sieve.action import (
    Action,
    Discard,
    FileInto,
    Keep,
    Redirect,
    Reject,
    Vacation,
    describe,
)
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits, Surroundings
from libs.protocols.sieve.script import Result, Script
from services.delivery import notice
from services.delivery.arrival import Arrival, Claim, Copy, join, usual_mailbox
from services.delivery.duplicates import Answers, Duplicates, Unanswered
from services.delivery.scripts import Active, Scripts
from services.delivery.settings import DeliverySettings
from services.delivery.vacation import Vacations

log = get_logger(__name__)
_HEAD_OCTETS = 256 * 1024
"""What is read of a message whose body no test asks for."""
_WHOLE = frozenset({"body", "foreverypart", "mime", "extracttext"})
_SPAM = re.compile(r"^X-Spam-Status: (Yes|No), score=(-?[0-9]+(?:\.[0-9]+)?)", re.MULTILINE)
_SURELY = 15.0
"""A score at which engines leave no doubt."""
_OF_MAILBOXES = frozenset({"mailbox", "special-use", "mailboxid"})
_STEP_CHARACTERS = 480
"""Of one trace row; a long explanation is several of them."""
_MOST_STEPS = 8

Here = dict[int, Arrival]


class Redirected(Exception):
    """A redirect that cannot be done; the message is kept instead."""


@dataclass(slots=True)
class _Read:
    """The content of one message, as far as scripts have asked for it."""

    blobs: BlobStore
    job: DeliveryJob
    _head: Message | None = None
    _whole: Message | None = None
    _octets: bytes = b""

    async def message(self, whole: bool) -> Message:
        job = self.job
        prefix = job.prefix.encode("latin-1", "replace")
        if whole or job.size <= _HEAD_OCTETS:
            if self._whole is None:
                content = (await self.blobs.read(job.blob)).content
                self._octets = disguise(content, 0, job.disguised)
                self._whole = Message(self._octets, prefix)
            return self._whole
        if self._head is None:
            octets = await self.blobs.read_range(job.blob, 0, _HEAD_OCTETS)
            self._octets = disguise(octets, 0, job.disguised)
            self._head = Message(self._octets, prefix, job.size)
        return self._head

    @property
    def head(self) -> bytes:
        """The header section."""
        return self._octets[: header_end(self._octets)]


class Sieve:
    """Runs the scripts of accounts on messages that arrive."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        directory: Directory,
        settings: DeliverySettings,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._directory = directory
        self._scripts = Scripts(database)
        self._duplicates = Duplicates(database)
        self._vacations = Vacations(database, blobs, directory)
        self._limits = Limits(
            steps=settings.sieve_steps,
            seconds=settings.sieve_seconds,
            redirects=settings.sieve_redirects,
        )

    async def file(
        self, arrived: Sequence[tuple[DeliveryJob, Here]], marks: Mapping[int, str]
    ) -> None:
        """Change arrivals to what scripts say; `marks`: account id -> `account.scripts`."""
        scripts = await self._scripts.of(marks)
        self._duplicates.forget()
        for job, here in arrived:
            if scripts.keys() & here.keys():
                await self._file(job, here, dict(scripts))

    async def _file(self, job: DeliveryJob, here: Here, scripts: dict[int, Active]) -> None:
        read = _Read(self._blobs, job)
        waiting = [arrival for arrival in here.values() if arrival.account in scripts]
        while waiting:
            arrival = waiting.pop(0)
            active = scripts[arrival.account]
            result = await self._run(read, arrival, active)
            wanted = [one.address for one in result.actions if isinstance(one, Redirect)]
            try:
                new = await self._redirect(read, arrival, here, wanted, scripts)
            except Redirected as error:
                result = Result((Keep(implicit=True),), str(error), result.explained)
                new = []
            await self._apply(read, arrival, active, result)
            arrival.steps += _explanation(active, result)
            arrival.claims += self._duplicates.note(arrival.account, result.tracked, time.time())
            for one in result.actions:
                if isinstance(one, Vacation):
                    await self._answer(read, arrival, here, one)
            waiting += [one for one in new if one.account in scripts]
        join(job, here)

    async def _run(self, read: _Read, arrival: Arrival, active: Active) -> Result:
        if active.script is None:
            return Result((Keep(implicit=True),), active.fault)
        needs = active.needs
        if "include" in needs:
            # What is included may ask for all that there is.
            needs = needs | _WHOLE | _OF_MAILBOXES
        message = await read.message(bool(needs & _WHOLE))
        boxes = await self._mailboxes(arrival.account) if needs & _OF_MAILBOXES else []
        names = {box.name for box in boxes}
        seen = Answers()
        envelope, client = read.job.header.envelope, read.job.header.client
        recipient = next(r.address for r in envelope.recipients if r.n == arrival.ns[0])
        around = Surroundings(
            envelope.reverse_path,
            recipient,
            time.time(),
            items={
                "host": read.job.header.hostname,
                "domain": arrival.address.rpartition("@")[2],
                "location": "MDA",
                "name": "Holub",
                "phase": "during",
                "remote-host": client.rdns,
                "remote-ip": client.ip,
            },
            mailbox_exists=lambda name: canonical_name(name) in names,
            special_uses={box.name: box.special_use for box in boxes if box.special_use},
            mailbox_ids={box.object_id: box.name for box in boxes},
            seen=seen.__getitem__,
            spam=spam_level(read.job.prefix),
            included=active.included,
            clock=time.monotonic,
        )
        while True:
            try:
                return attempt(active.script, message, around, self._limits)
            except Unanswered as asked:
                # It runs again when the answer is known; it asks for few ids (MAX_TRACKED).
                seen[asked.key] = await self._duplicates.seen(arrival.account, asked.key)

    async def _mailboxes(self, account: int) -> list[Mailbox]:
        async with self._database.reading() as transaction:
            return await list_mailboxes(transaction, account)

    async def _redirect(
        self,
        read: _Read,
        arrival: Arrival,
        here: Here,
        wanted: Sequence[str],
        scripts: dict[int, Active],
    ) -> list[Arrival]:
        """Note where a message goes on to; accounts that it has not come to before are new."""
        if not wanted:
            return []
        passed = {canonical(a.whole) for a in (await read.message(False)).addresses("delivered-to")}
        if arrival.address in passed:
            raise Redirected("redirect: the message has been here before (Delivered-To)")
        found = await self._directory.targets(sorted(set(wanted)))
        for address in wanted:
            if found[address].unknown:
                raise Redirected(f"redirect: there is no address {address} here")
        marks = {i: mark for targets in found.values() for i, mark in targets.scripts}
        scripts.update(await self._scripts.of(marks))
        new = []
        for targets in found.values():
            arrival.remote += [one for one in targets.remote if one not in arrival.remote]
            for account, address in targets.accounts:
                if account == arrival.account:
                    raise Redirected("redirect: the address is one's own")
                arrival.onward.append(account)
                if account not in here:
                    copies = [Copy(usual_mailbox(read.job))]
                    here[account] = Arrival(account, address, list(arrival.ns), copies)
                    new.append(here[account])
        return new

    async def _apply(self, read: _Read, arrival: Arrival, active: Active, result: Result) -> None:
        """Make actions into copies, a state, notices and an explanation."""
        job, now = read.job, time.time()
        arrival.copies = [copy for one in result.actions if (copy := _copy(job, one)) is not None]
        refused = next((one for one in result.actions if isinstance(one, Reject)), None)
        if refused is not None:
            await self._refuse(read, arrival, active, refused, now)
        elif not arrival.copies and not arrival.remote and not arrival.onward:
            arrival.state = "discarded"
            arrival.why = f"by the Sieve script {active.name!r} of {arrival.address}"
        if result.fault and not active.told:
            # Told or not is decided with the plan; here it only saves work.
            active.told = True
            content = notice.broken(job, arrival, active.name, result.fault, now)
            claim = _first_fault(arrival.account, active.name, result.fault)
            to, kind = arrival.address, "sieve_fault"
            arrival.notices.append(
                await notice.store(self._blobs, job, arrival, kind, to, content, now, claim)
            )

    async def _answer(self, read: _Read, arrival: Arrival, here: Here, action: Vacation) -> None:
        others = {n for one in here.values() if one is not arrival for n in one.ns}
        own = {arrival.address} | {
            # An address that leads to others too is not one's own.
            canonical(r.address)
            for r in read.job.header.envelope.recipients
            if r.n in arrival.ns and r.n not in others
        }
        message, now = await read.message(False), time.time()
        arrival.steps.append(
            await self._vacations.answer(read.job, arrival, own, action, message, now)
        )

    async def _refuse(
        self, read: _Read, arrival: Arrival, active: Active, refused: Reject, now: float
    ) -> None:
        """Tell the sender, if it is surely he who gets it; a bounce to a forged address is spam.

        RFC 5429 §2.1.1 lets such a message be dropped, as its recipient wants.
        """
        job = read.job
        rule = f"refused by the Sieve script {active.name!r} of {arrival.address}"
        if not notice.sender_is_known(job):
            arrival.state = "discarded"
            arrival.why = f"{rule}; the sender is not verified, so he is not told"
            return
        arrival.state, arrival.why = "bounced", rule
        content = notice.refusal(job, arrival, refused.reason, read.head, now)
        to = job.header.envelope.reverse_path
        arrival.notices.append(
            await notice.store(self._blobs, job, arrival, "reject", to, content, now)
        )


def attempt(script: Script, message: Message, around: Surroundings, limits: Limits) -> Result:
    """Run a script; a bug of ours in it keeps the message (RFC 5228 §2.10.6), and is logged."""
    try:
        return script.run(message, around, limits, explain=True)
    except Unanswered:
        raise
    except Exception as error:
        # Put back, the job would fail again and again, and the mail would wait for an operator.
        log.exception("script failed")
        return Result((Keep(implicit=True),), f"an error of the platform: {type(error).__name__}")


def spam_level(prefix: str) -> float | None:
    """How surely a message is spam, from the field that filter wrote; None: it was not scored.

    What filter held to be spam is above a half, and what it did not is below, whatever the scale of
    the engine and the thresholds in force.
    """
    match = _SPAM.search(prefix)
    if match is None:
        return None
    part = min(max(float(match[2]) / _SURELY, 0.0), 1.0)
    return max(part, 0.6) if match[1] == "Yes" else min(part, 0.4)


def _copy(job: DeliveryJob, action: Action) -> Copy | None:
    match action:
        case Keep(flags):
            # RFC 5228 §4.3: wherever it would go without a script; so junk stays junk.
            return Copy(usual_mailbox(job), flags)
        case FileInto(name, flags, create, special_use):
            return Copy(canonical_name(name), flags, create, special_use)
    return None


def _explanation(active: Active, result: Result) -> list[str]:
    """What was done and why, in pieces that fit into trace rows."""
    actions = "; ".join(describe(one) for one in result.actions or (Discard(),))
    fault = f"broke off: {result.fault}; " if result.fault else ""
    steps = [f"{active.name}: {fault}{actions}"[:_STEP_CHARACTERS]]
    piece = ""
    for line in result.explained:
        if piece and len(piece) + len(line) + 2 > _STEP_CHARACTERS:
            steps.append(piece)
            piece = ""
        piece += f"; {line}" if piece else line
        if len(steps) == _MOST_STEPS:
            return steps
    return [*steps, piece] if piece else steps


def _first_fault(account: int, name: str, fault: str) -> Claim:
    """Whether this is the first fault since the script was put: its owner is told once."""

    async def claim(transaction: Transaction) -> bool:
        mine = (
            (sieve_script.c.account_id == account)
            & (sieve_script.c.name == name)
            & (sieve_script.c.fault == "")
        )
        changed = update(sieve_script).where(mine).values(fault=fault[:500].replace("\0", ""))
        return await transaction.execute(changed) > 0

    return claim
