"""What a session knows of its mail transaction (RFC 5321 §3.3)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libs.common.jobs import Client, Envelope, Origin, Recipient, RecordHeader, new_mail_id
from libs.protocols.smtp.path import Path

if TYPE_CHECKING:
    from services.ingress.content import Content


@dataclass(slots=True)
class MailTransaction:
    """From MAIL to the end of the content."""

    reverse_path: Path
    body: str = "7BIT"
    smtputf8: bool = False
    requiretls: bool = False
    ret: str = ""
    envid: str = ""
    tenant: int = 1
    content: Content | None = None
    """What BDAT or DATA has brought so far."""
    mail_id: str = field(default_factory=new_mail_id)
    recipients: list[Recipient] = field(default_factory=list)
    policy: tuple[str, ...] = ()
    """What was found of the client, as `rule=outcome`."""

    def add(self, path: Path, notify: str, orcpt: str) -> None:
        """Take a recipient; one that is named twice is one recipient (RFC 5321 §4.1.1.3)."""
        if all(known.address != path.address for known in self.recipients):
            self.recipients.append(Recipient(len(self.recipients), path.address, notify, orcpt))

    def header(
        self, listener: str, hostname: str, client: Client, traceparent: str = ""
    ) -> RecordHeader:
        """Everything that is stored with the content."""
        envelope = Envelope(
            self.reverse_path.address,
            tuple(self.recipients),
            body=self.body,
            smtputf8=self.smtputf8,
            requiretls=self.requiretls,
            ret=self.ret,
            envid=self.envid,
        )
        return RecordHeader(
            self.mail_id,
            time.time(),
            envelope,
            Origin.SMTP,
            self.tenant,
            listener,
            hostname,
            client,
            self.policy,
            traceparent=traceparent,
        )
