"""The judge: every attempt in the ledger against all sinks.  Pure: no I/O, no clock.

The checks have the names of the plan for fault injection: J1 loss, J2 duplicates, J3 ghosts, J4
unknown, J5 never sent, J6 bytes, J7 outbound extras, J8 DSNs, J10 drain, J11 fsck, J14 answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.content import Kind
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Attempt, Outcome

_EXAMPLES = 5
_LATEST_REPLY = 30.0


@dataclass(slots=True)
class Check:
    """One rule: how many cases it looked at, and those that break it."""

    name: str
    rule: str
    cases: int = 0
    violations: list[str] = field(default_factory=list)
    remark: str = ""
    """What faults excused, counted."""

    def fail(self, text: str) -> None:
        """One more violation."""
        self.violations.append(text)


@dataclass(frozen=True, slots=True)
class Budget:
    """What faults excuse, each counted."""

    ghosts: int
    """Messages that were answered 4xx and came all the same (I2 b)."""
    extras: int
    """Second copies at the outbound sink (I2 c)."""


class Judge:
    """Looks at one run."""

    def __init__(
        self, run: str, attempts: Sequence[Attempt], evidence: Evidence, sender: str = ""
    ) -> None:
        self._run = run
        self._attempts = attempts
        self._evidence = evidence
        self._sender = sender
        self._copies = Counter((c.account, c.seq) for c in evidence.copies if c.seq)
        self._rows = Counter(evidence.rows)
        self._taken = Counter((t.recipient, t.seq) for t in evidence.taken)
        self._bounced = Counter(address for c in evidence.copies for address in c.bounced)
        self._parked = {mail_id: reason for _, mail_id, reason in evidence.parked}

    def verdict(self, budget: Budget) -> list[Check]:
        """All checks."""
        return [
            self._loss(),
            self._duplicates(),
            self._ghosts(budget.ghosts),
            self._unknown(),
            self._never_sent(),
            self._bytes(),
            self._extras(budget.extras),
            self._dsns(),
            self._viruses(),
            self._drain(),
            self._fsck(),
            self._answers(),
        ]

    def _of(self, *outcomes: Outcome) -> list[Attempt]:
        return [a for a in self._attempts if a.outcome in outcomes]

    def _loss(self) -> Check:
        check = Check("J1", "answered 250: exactly one terminal place for each recipient")
        for attempt in self._of(Outcome.ACCEPTED):
            if not attempt.mail_id:
                check.fail(f"#{attempt.seq}: no mail_id in {attempt.reply!r}")
            for recipient in attempt.recipients:
                check.cases += 1
                if wrong := self._misplaced(attempt, recipient):
                    check.fail(f"#{attempt.seq} {attempt.mail_id} {recipient}: {wrong}")
        return check

    def _misplaced(self, attempt: Attempt, recipient: str) -> str:
        """What is wrong with one unit; empty: nothing."""
        unit = (attempt.mail_id, recipient)
        places = {
            "delivered": bool(self._copies[recipient, attempt.seq]),
            "relayed": bool(self._taken[recipient, attempt.seq]),
            "quarantined": unit in self._evidence.quarantined,
            "bounced": bool(self._bounced[recipient]),
        }
        found = [name for name, there in places.items() if there]
        state = self._evidence.outcomes.get(unit, "")
        if found == [state]:
            return ""
        held = ""
        if unit in self._evidence.deferred:
            held = f", still deferred ({self._evidence.deferred[unit] or 'no reply yet'})"
        if attempt.mail_id in self._parked:
            held += f", parked ({self._parked[attempt.mail_id][:120]})"
        return f"found {'+'.join(found) or 'nowhere'}, outcome {state or 'none'}{held}"

    def _duplicates(self) -> Check:
        check = Check("J2", "answered 250: one copy in each mailbox, by IMAP and by SQL")
        for attempt in self._of(Outcome.ACCEPTED):
            for recipient in attempt.recipients:
                check.cases += 1
                by_imap = self._copies[recipient, attempt.seq]
                by_sql = self._rows[recipient, attempt.mail_id]
                if by_imap > 1 or by_sql != by_imap:
                    check.fail(f"#{attempt.seq} {recipient}: {by_imap} by IMAP, {by_sql} by SQL")
        return check

    def _places(self, attempt: Attempt) -> int:
        """Copies of an attempt anywhere, in mailboxes and at the sink."""
        return sum(
            self._copies[recipient, attempt.seq] + self._taken[recipient, attempt.seq]
            for recipient in attempt.recipients
        )

    def _ghosts(self, budget: int) -> Check:
        check = Check(
            "J3", "answered 4xx or 5xx after the dot: no copy, but those that faults excuse"
        )
        ghosts = []
        for attempt in self._of(Outcome.TRANSIENT, Outcome.PERMANENT):
            check.cases += 1
            if not self._places(attempt):
                continue
            text = f"#{attempt.seq} answered {attempt.reply[:80]!r}"
            if attempt.outcome is Outcome.PERMANENT or self._most(attempt) > 1:
                check.fail(text)
            else:
                ghosts.append(text)
        check.remark = f"{len(ghosts)} ghosts, {budget} excused"
        if len(ghosts) > budget:
            check.violations += ghosts
        return check

    def _most(self, attempt: Attempt) -> int:
        return max((self._copies[r, attempt.seq] for r in attempt.recipients), default=0)

    def _unknown(self) -> Check:
        check = Check("J4", "lost after the dot: none or one copy in each mailbox")
        for attempt in self._of(Outcome.UNKNOWN):
            check.cases += 1
            if self._most(attempt) > 1:
                check.fail(f"#{attempt.seq}: {self._most(attempt)} copies")
        return check

    def _never_sent(self) -> Check:
        check = Check("J5", "nothing comes that was not sent, nor to anybody else")
        sent = {a.seq: set(a.recipients) for a in self._attempts if a.dot_at}
        for copy in self._evidence.copies:
            check.cases += 1
            if copy.bounced and copy.account == self._sender:
                continue
            if copy.run != self._run or copy.account not in sent.get(copy.seq, ()):
                check.fail(f"{copy.account} {copy.mailbox} UID {copy.uid}: #{copy.seq}")
        for taken in self._evidence.taken:
            check.cases += 1
            if taken.recipient not in sent.get(taken.seq, ()):
                check.fail(f"sink: #{taken.seq} for {taken.recipient}")
        return check

    def _bytes(self) -> Check:
        check = Check("J6", "the same octets behind our prefix, and the prefix names the mail_id")
        known = {a.seq: a for a in self._attempts}
        for copy in self._evidence.copies:
            attempt = known.get(copy.seq)
            if attempt is None:
                continue
            check.cases += 1
            if copy.sha256 != attempt.sha256:
                check.fail(f"{copy.account} UID {copy.uid}: #{copy.seq} has other octets")
            elif attempt.mail_id.encode() not in copy.prefix:
                check.fail(f"{copy.account} UID {copy.uid}: prefix without {attempt.mail_id}")
        for taken in self._evidence.taken:
            check.cases += 1
            if taken.seq in known and taken.sha256 != known[taken.seq].sha256:
                check.fail(f"sink: #{taken.seq} for {taken.recipient} has other octets")
        return check

    def _extras(self, budget: int) -> Check:
        check = Check("J7", "one copy at the next hop, but those that faults excuse")
        answered = Counter(t.recipient for t in self._evidence.taken if t.answered)
        check.cases = len(answered)
        extras = [f"{recipient}: {n} copies" for recipient, n in answered.items() if n > 1]
        count = sum(n - 1 for n in answered.values())
        check.remark = f"{count} extras, {budget} excused"
        if count > budget:
            check.violations += extras
        return check

    def _dsns(self) -> Check:
        check = Check("J8", "one DSN for each recipient that failed, to its sender only")
        for attempt in self._of(Outcome.ACCEPTED):
            for recipient in attempt.recipients:
                if attempt.kind is not Kind.OUTBOUND:
                    continue
                check.cases += 1
                wanted = int(recipient.startswith("never-"))
                if self._bounced[recipient] != wanted:
                    check.fail(f"{recipient}: {self._bounced[recipient]} DSNs, {wanted} wanted")
        for copy in self._evidence.copies:
            if copy.bounced and copy.account != self._sender:
                check.fail(f"a DSN in {copy.account} for {copy.bounced}")
        return check

    def _viruses(self) -> Check:
        check = Check("JV", "a virus is refused or quarantined, never in a mailbox")
        viruses = {a.seq for a in self._attempts if a.kind is Kind.VIRUS}
        check.cases = len(viruses)
        for copy in self._evidence.copies:
            if copy.seq in viruses:
                check.fail(f"{copy.account} {copy.mailbox} UID {copy.uid}: #{copy.seq}")
        return check

    def _drain(self) -> Check:
        check = Check("J10", "queues, outbox, deferred and parked are empty, no lease is held")
        seen = self._evidence
        counts = {f"queue {name}": count for name, count in seen.queues.items()}
        counts |= {"outbox rows": seen.outbox, "leases": seen.leases}
        counts |= {"deferred recipients": len(seen.deferred), "parked jobs": len(seen.parked)}
        check.cases = len(counts)
        for name, count in counts.items():
            if count:
                check.fail(f"{name}: {count}")
        check.violations += [f"parked in {q}: {why[:200]}" for q, _, why in seen.parked]
        return check

    def _fsck(self) -> Check:
        return Check("J11", "holub fsck finds nothing", 1, list(self._evidence.fsck))

    def _answers(self) -> Check:
        check = Check("J14", f"every final dot is answered within {_LATEST_REPLY:.0f} s")
        for attempt in self._attempts:
            check.cases += bool(attempt.seconds)
            if attempt.seconds > _LATEST_REPLY:
                check.fail(f"#{attempt.seq}: {attempt.seconds:.1f} s")
        return check


def table(checks: Iterable[Check]) -> str:
    """The verdict for people."""
    lines = []
    for check in checks:
        count = len(check.violations)
        mark = "ok  " if not count else "FAIL"
        rule = f"{check.rule} ({check.remark})" if check.remark else check.rule
        lines.append(f"{check.name:<4} {mark} {check.cases:>7} cases {count:>5} bad  {rule}")
        lines += [f"       - {text}" for text in check.violations[:_EXAMPLES]]
    return "\n".join(lines)
