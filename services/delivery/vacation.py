"""Vacation at delivery: whether a sender is answered, at most once in a period (RFC 5230)."""

from __future__ import annotations

from email.utils import parseaddr

from sqlalchemy import ColumnElement, delete, select, update

from libs.common.accounts import Directory
from libs.common.accounts.account import canonical
from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database, Transaction
from libs.common.db.schema import vacation_log
from libs.common.jobs import DeliveryJob, Verdict
from libs.common.runtime.log import get_logger
from libs.protocols.sieve.action import Vacation
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.vacation import answer, why_not
from services.delivery import notice
from services.delivery.arrival import Arrival, Claim

log = get_logger(__name__)


class Vacations:
    """Makes the answers of one delivery process."""

    def __init__(self, database: Database, blobs: BlobStore, directory: Directory) -> None:
        self._database = database
        self._blobs = blobs
        self._directory = directory

    async def answer(
        self,
        job: DeliveryJob,
        arrival: Arrival,
        own: set[str],
        action: Vacation,
        message: Message,
        now: float,
    ) -> str:
        """Note the answer with the arrival, if there is one; what was done, for the trace."""
        sender = job.header.envelope.reverse_path
        why, written_to = why_not(action, message, sender, own)
        if not why and job.verdict is Verdict.JUNK:
            # An answer would tell a spammer that somebody reads this.
            why = "it is junk"
        if not why and not sender.isascii():
            why = "its sender's address is not in ASCII"
        if not why and await self._answered(arrival.account, sender, action, now):
            why = "its sender was answered before"
        if why:
            return f"vacation: no answer, for {why}"
        by = await self._sender(arrival, action, written_to, own)
        host = job.header.hostname or "localhost"
        message_id = f"<{notice.child_id(job, 'vacation', arrival.account)}@{host}>"
        try:
            content = answer(action, message, sender=by, to=sender, message_id=message_id, now=now)
        except (ValueError, IndexError, LookupError) as error:
            # Odd addresses and texts break the library; that must not hold up the message.
            log.warning("no vacation answer", mail_id=job.header.mail_id, error=str(error))
            return "vacation: no answer, for it cannot be written as a message"
        claim = _first_in_period(arrival.account, sender.lower(), action, now)
        arrival.notices.append(
            await notice.store(self._blobs, job, arrival, "vacation", sender, content, now, claim)
        )
        return f"vacation: an answer to {sender}"

    async def _answered(self, account: int, sender: str, action: Vacation, now: float) -> bool:
        """Only saves the work; `_first_in_period` decides."""
        query = select(vacation_log.c.until).where(
            _row(account, sender.lower(), action), vacation_log.c.until > now
        )
        async with self._database.reading() as transaction:
            return await transaction.scalar(query) is not None

    async def _sender(
        self, arrival: Arrival, action: Vacation, written_to: str, own: set[str]
    ) -> str:
        """`:from` when it leads to the owner (S6), else the own address that was written to."""
        if action.sender:
            address = parseaddr(action.sender)[1]
            if "@" in address and address.isascii():
                found = (await self._directory.targets([address]))[address]
                if any(account == arrival.account for account, _ in found.accounts):
                    return action.sender
        return written_to if canonical(written_to) in own else arrival.address


def _row(account: int, sender: str, action: Vacation) -> ColumnElement[bool]:
    return (
        (vacation_log.c.account_id == account)
        & (vacation_log.c.sender == sender)
        & (vacation_log.c.handle == action.handle)
    )


def _first_in_period(account: int, sender: str, action: Vacation, now: float) -> Claim:
    """Whether nobody else answers this sender in this period: the row decides."""

    async def claim(transaction: Transaction) -> bool:
        until = now + action.seconds
        due = update(vacation_log).where(_row(account, sender, action), vacation_log.c.until <= now)
        if await transaction.execute(due.values(until=until)):
            return True
        row = {
            "account_id": account,
            "sender": sender,
            "handle": action.handle,
            "until": until,
        }
        keys = ("account_id", "sender", "handle")
        if not await transaction.insert_new(vacation_log, [row], keys):
            return False
        old = (vacation_log.c.account_id == account) & (vacation_log.c.until <= now)
        await transaction.execute(delete(vacation_log).where(old))
        return True

    return claim
