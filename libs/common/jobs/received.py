"""Our Received field, made from the record header alone (RFC 5321 §4.4)."""

from __future__ import annotations

from libs.common.jobs.record import RecordHeader
from libs.protocols.message.received import received_field


def received(header: RecordHeader) -> str:
    """The field, ended by CRLF."""
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
