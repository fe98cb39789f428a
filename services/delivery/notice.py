"""Messages of our own that a script causes: composed, stored, and named after their cause."""

from __future__ import annotations

import re
import uuid
from email.message import EmailMessage
from email.policy import SMTP

from libs.common.blobstore.protocol import BlobStore
from libs.common.jobs import (
    DeliveryJob,
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    RecordHeader,
    encode,
)
from libs.common.jobs.record import encode_header
from libs.protocols.message.date import format_date
from libs.protocols.message.dsn import Failure, compose_dsn
from services.delivery.arrival import Arrival, Claim, Notice

_CHILDREN = uuid.UUID("8c7d5f0e-52a5-5b0c-8b6e-3b4fd2a0c6a1")
_SPF = re.compile(r"\bspf=pass smtp\.mailfrom=\"?([^\s\";]+)")
_DMARC = re.compile(r"\bdmarc=pass\b[^;]* header\.from=\"?([^\s\";]+)")


def child_id(job: DeliveryJob, kind: str, account: int) -> str:
    """The mail_id of what a script of this account causes: a repeated job makes the same one."""
    return str(uuid.uuid5(_CHILDREN, f"{job.header.mail_id} {kind} {account}"))


def sender_is_known(job: DeliveryJob) -> bool:
    """Whether the reverse-path is surely the sender's own, so that he may be answered (I9).

    It logged in with us, or its domain vouched for this message by SPF, or by DMARC for an author
    in the same domain.
    """
    header = job.header
    domain = header.envelope.reverse_path.rpartition("@")[2].lower()
    if not domain:
        return False
    if header.client.account or header.origin is Origin.API:
        return True
    # Only what filter itself found is in the prefix, never a field of the message.
    vouched = {*_SPF.findall(job.prefix), *_DMARC.findall(job.prefix)}
    return domain in {one.lower() for one in vouched}


def refusal(job: DeliveryJob, arrival: Arrival, reason: str, head: bytes, now: float) -> bytes:
    """The DSN that a `reject` sends (RFC 5429 §2.2): the owner's reason, in his own words."""
    header = job.header
    child = child_id(job, "reject", arrival.account)
    host = header.hostname or "localhost"
    address = next(r.address for r in header.envelope.recipients if r.n == arrival.ns[0])
    return compose_dsn(
        action="failed",
        failures=[Failure(address, "5.7.1", reason, last_attempt_at=now)],
        reporting_host=host,
        sender_address=f"MAILER-DAEMON@{host}",
        recipient=header.envelope.reverse_path,
        message_id=f"<{child}@{host}>",
        boundary=child,
        at=now,
        arrived_at=header.received_at,
        mail_id=header.mail_id,
        original_header=head,
    )


def broken(job: DeliveryJob, arrival: Arrival, name: str, fault: str, now: float) -> bytes:
    """What the owner of a script that broke off is told."""
    host = job.header.hostname or "localhost"
    message = EmailMessage(SMTP)
    message["From"] = f"Mail System <MAILER-DAEMON@{host}>"
    message["To"] = arrival.address
    message["Subject"] = "Your Sieve script has a fault"
    message["Date"] = format_date(now)
    message["Message-ID"] = f"<{child_id(job, 'sieve_fault', arrival.account)}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"Your Sieve script {name!r} broke off at a message:\n\n    {fault}\n\n"
        f"The message came from <{job.header.envelope.reverse_path}> and is in your mailbox;\n"
        "nothing of what the script asked for was done to it. So it will be with each\n"
        "message at which the script breaks off. You are told this once, and again when\n"
        f"you have changed the script.\n\nOur reference for the message: {job.header.mail_id}\n"
    )
    return message.as_bytes()


async def store(
    blobs: BlobStore,
    job: DeliveryJob,
    arrival: Arrival,
    kind: str,
    to: str,
    content: bytes,
    now: float,
    claim: Claim | None = None,
) -> Notice:
    """Make a message durable; it goes when the plan is committed, and is garbage otherwise."""
    parent = job.header
    child = child_id(job, kind, arrival.account)
    header = RecordHeader(
        mail_id=child,
        received_at=now,
        # RFC 8689 §5: a report tells of the message, so it is protected as the message was.
        envelope=Envelope(
            "", (Recipient(0, to, notify="NEVER"),), requiretls=parent.envelope.requiretls
        ),
        origin=Origin.DSN,
        tenant=parent.tenant,
        hostname=parent.hostname,
        parent=parent.mail_id,
    )
    ref = await blobs.put(encode_header(header), content, key=child)
    key = f"{kind}:{arrival.account}"
    return Notice(key, arrival.ns[0], child, encode(FilterJob(ref, header)), claim)
