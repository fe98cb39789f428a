"""Who may send what, and how much (S6): submission with smtplib."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from pathlib import Path

import pytest
from sqlalchemy import update

from libs.common.accounts.registry import create_alias
from libs.common.admin.grants import add_grant, remove_grant
from libs.common.admin.principal import local_operator
from libs.common.db.schema import tenant
from tests.integration.ingress.ingress import ALICE, BOB, DAVE, PASSWORD, Ingress, running

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
ROOT = local_operator("test")


def submit(ingress: Ingress, tls: Contexts, reverse_path: str, header: str) -> tuple[int, bytes]:
    """The first refusal, or the reply to the content."""
    port = ingress.ports["submissions"]
    with smtplib.SMTP_SSL("localhost", port, context=tls[1], timeout=20) as client:
        client.login(ALICE, PASSWORD)
        return transact(client, reverse_path, header)


def transact(client: smtplib.SMTP, reverse_path: str, header: str) -> tuple[int, bytes]:
    for reply in (client.mail(reverse_path), client.rcpt(BOB)):
        if reply[0] != 250:
            return reply
    return client.data(f"{header}\r\nSubject: x\r\n\r\nhello\r\n")


async def test_only_own_and_granted_addresses_may_be_used(tmp_path: Path, tls: Contexts) -> None:
    """BEC: neither the reverse-path nor what people see may be somebody else's."""
    async with running(tmp_path, tls=tls[0]) as ingress:
        await create_alias(ingress.database, "sales@example.test", [ALICE, BOB])
        await add_grant(ingress.database, ROOT, ALICE, "office@example.test")
        await add_grant(ingress.database, ROOT, BOB, "*@example.test")
        own = f"From: Alice <{ALICE}>"
        tried = [
            (ALICE, own, 250),
            ("", own, 250),
            ("alice+news@example.test", own, 250),
            ("SALES@example.test", "From: sales@example.test", 250),
            ("office@example.test", "From: Office <office@EXAMPLE.test>", 250),
            (ALICE, f"From: {ALICE}, office@example.test", 250),
            (ALICE, "To: nobody", 250),
            (BOB, own, 553),
            (DAVE, own, 553),
            ("x@elsewhere.example", own, 553),
            (ALICE, f"From: {BOB}", 550),
            (ALICE, f'From: "{ALICE}" <boss@bank.example>', 550),
            (ALICE, f"From: {ALICE}, {BOB}", 550),
            (ALICE, f"{own}\r\nFrom: {BOB}", 550),
            (ALICE, f"From: {ALICE} <{BOB}>", 550),
            (ALICE, "From: nobody at all", 550),
            (ALICE, f"From: Alice\r\n <{BOB}>", 550),
        ]

        answers = [
            await asyncio.to_thread(submit, ingress, tls, path, header) for path, header, _ in tried
        ]
        await remove_grant(ingress.database, ROOT, ALICE, "office@example.test")
        after = await asyncio.to_thread(submit, ingress, tls, "office@example.test", own)
        stored = await ingress.records()

    heard = [(*case[:2], answer[0]) for case, answer in zip(tried, answers, strict=True)]
    assert heard == tried
    assert all(b"5.7.1" in text for code, text in answers if code != 250)
    assert after[0] == 553
    assert len(stored) == 7


@pytest.mark.parametrize(
    ("column", "code"), [("messages_per_hour", 450), ("recipients_per_day", 452)]
)
async def test_a_tenants_limit_is_one_for_all_replicas_and_outlives_them(
    tmp_path: Path, tls: Contexts, column: str, code: int
) -> None:
    own = f"From: {ALICE}"
    async with running(tmp_path, tls=tls[0]) as one:
        async with one.database.transaction() as transaction:
            await transaction.execute(
                update(tenant).where(tenant.c.name == "default").values(**{column: 3})
            )
        async with running(tmp_path, tls=tls[0]) as other:
            codes = []
            for replica in (one, other, one, other):
                reply = await asyncio.to_thread(submit, replica, tls, ALICE, own)
                codes.append(reply[0])
                for ingress in (one, other):
                    await ingress.limits.exchange()
    async with running(tmp_path, tls=tls[0]) as again:
        later, text = await asyncio.to_thread(submit, again, tls, ALICE, own)

    assert codes == [250, 250, 250, code]
    assert (later, text[:5]) == (code, b"4.7.1")


async def test_an_account_has_limits_by_settings(tmp_path: Path, tls: Contexts) -> None:
    knobs = {"account_messages": 2, "account_recipients": 10}
    async with running(tmp_path, tls=tls[0], **knobs) as ingress:
        replies = [
            await asyncio.to_thread(submit, ingress, tls, ALICE, f"From: {ALICE}") for _ in "123"
        ]

    assert [code for code, _ in replies] == [250, 250, 450]
    assert b"this account may send 2 messages in an hour" in replies[2][1]
