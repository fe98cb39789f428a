"""What of the envelope is in the record: everything that was asked for, and whose it is."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from pathlib import Path

from tests.integration.ingress.ingress import DOMAIN, OTHER_DOMAIN, running

CONTENT = b"Subject: x\r\n\r\nx\r\n"


async def test_a_record_belongs_to_the_tenant_of_its_recipients(tmp_path: Path) -> None:
    mail = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n%s"
    async with running(tmp_path) as ingress:
        await ingress.converse(
            b"EHLO x\r\n",
            mail % (f"alice@{DOMAIN}".encode(), len(CONTENT), CONTENT),
            mail % (f"dave@{OTHER_DOMAIN}".encode(), len(CONTENT), CONTENT),
        )

        records = await ingress.records()

    tenants = [header.tenant for header, _ in records]
    assert len(set(tenants)) == 2
    assert [header.envelope.recipients[0].address for header, _ in records] == [
        f"alice@{DOMAIN}",
        f"dave@{OTHER_DOMAIN}",
    ]


async def test_recipients_of_another_tenant_are_for_another_transaction(tmp_path: Path) -> None:
    async with running(tmp_path) as ingress:
        got = await ingress.converse(
            b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n",
            f"RCPT TO:<alice@{DOMAIN}>\r\nRCPT TO:<dave@{OTHER_DOMAIN}>\r\n".encode(),
            f"RCPT TO:<bob@{DOMAIN}>\r\n".encode(),
        )

    assert [line[:9] for line in got.splitlines()[-3:]] == [
        b"250 2.1.5",
        b"452 4.5.3",
        b"250 2.1.5",
    ]


async def test_requiretls_is_kept_with_the_message(
    tmp_path: Path, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with running(tmp_path, tls=tls[0]) as ingress:

        def send() -> None:
            with smtplib.SMTP("localhost", ingress.ports["mx"]) as client:
                client.starttls(context=tls[1])
                options = ["REQUIRETLS"]
                client.sendmail("a@b.example", [f"alice@{DOMAIN}"], CONTENT, mail_options=options)

        await asyncio.to_thread(send)
        ((header, _),) = await ingress.records()
    assert header.envelope.requiretls


async def test_dsn_and_other_parameters_are_in_the_envelope_as_they_came(tmp_path: Path) -> None:
    async with running(tmp_path) as ingress:
        await ingress.converse(
            b"EHLO x\r\n",
            "MAIL FROM:<jösé@b.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1\r\n".encode(),
            f"RCPT TO:<alice@{DOMAIN}> NOTIFY=success,DELAY ORCPT=rfc822;a+2Bb@c\r\n".encode(),
            f"RCPT TO:<bob@{DOMAIN}> NOTIFY=NEVER\r\n".encode(),
            b"DATA\r\n" + CONTENT + b".\r\n",
        )

        ((header, content),) = await ingress.records()

    envelope = header.envelope
    assert content == CONTENT
    assert (envelope.reverse_path, envelope.smtputf8) == ("jösé@b.example", True)
    assert (envelope.body, envelope.ret, envelope.envid) == ("8BITMIME", "HDRS", "QQ+2B1")
    assert [(r.notify, r.orcpt) for r in envelope.recipients] == [
        ("SUCCESS,DELAY", "rfc822;a+2Bb@c"),
        ("NEVER", ""),
    ]
