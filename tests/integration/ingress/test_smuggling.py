"""S1 and S3 on the wire: a whole session cut at every octet, by DATA and by BDAT."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.ingress.ingress import DOMAIN, running
from tests.unit.libs.protocols.smtp.test_smuggling import PAIRS, SMUGGLED

ENVELOPE = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@{DOMAIN}>\r\n".encode()
AT_ONCE = 20


def by_data(content: bytes) -> bytes:
    return ENVELOPE + b"DATA\r\n" + content + b"\r\n.\r\nQUIT\r\n"


def by_chunk(content: bytes) -> bytes:
    return ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content + b"QUIT\r\n"


@pytest.mark.parametrize("form", [by_data, by_chunk])
async def test_a_session_cut_at_any_octet_is_the_same_session(tmp_path: Path, form: object) -> None:
    content = (
        b"Subject: x\r\n\r\na\r\n..b\r\n" if form is by_data else b"Subject: x\r\n\r\na\r\n.\r\n"
    )
    whole = form(content)  # type: ignore[operator]
    async with running(tmp_path) as ingress:
        expected = (await ingress.converse(whole)).rpartition(b"queued as ")[0]
        room = asyncio.Semaphore(AT_ONCE)

        async def cut(at: int) -> bytes:
            async with room:
                return await ingress.converse(whole[:at], whole[at:], pause=0.02)

        answers = await asyncio.gather(*(cut(at) for at in range(1, len(whole))))
        records = await ingress.records()

    assert {answer.rpartition(b"queued as ")[0] for answer in answers} == {expected}
    assert len(records) == len(whole)
    assert len({stored for _, stored in records}) == 1


@pytest.mark.parametrize("form", [by_data, by_chunk])
async def test_nothing_within_content_becomes_a_command(tmp_path: Path, form: object) -> None:
    """CVE-2023-51764 and its kin; what has a bare line end is refused as a whole."""
    async with running(tmp_path) as ingress:
        for before, after in PAIRS:
            smuggled = b"hello" + before + b"." + after + SMUGGLED.removesuffix(b"\r\n.\r\n")
            if form is by_data and b"\r\n.\r\n" in smuggled:
                continue  # the true end: what follows are commands indeed
            got = await ingress.converse(form(smuggled))  # type: ignore[operator]

            assert got.count(b" 2.1.0 ") == 1, (before, after)
            assert got.count(b"queued as") + got.count(b"550 5.6.11") == 1, (before, after)
        records = await ingress.records()

    assert {header.envelope.reverse_path for header, _ in records} == {"a@b.example"}
    for _, content in records:
        assert not set(content.replace(b"\r\n", b"")) & set(b"\r\n")
