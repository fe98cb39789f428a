"""Vacation at delivery: at most one answer for each sender and period, whatever comes twice."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest
from sqlalchemy import update

from libs.common.db.schema import effect, outbox, vacation_log
from libs.common.jobs import DeliveryJob, FilterJob, Verdict, decode, encode
from tests.integration.delivery.post import CONTENT, DOMAIN, Post

AWAY = 'require "vacation"; vacation :days 3 "I am away.";'


@pytest.fixture(autouse=True)
def _hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers stay in the outbox, where they can be seen."""
    monkeypatch.setenv("HOLUB_STORAGE_OUTBOX_EVERY_SECONDS", "600")


async def _answers(post: Post) -> list[FilterJob]:
    return [decode(bytes(row.body), FilterJob) for row in await post.rows(outbox)]


async def _deliver(post: Post, job: DeliveryJob, times: int = 1) -> None:
    filtered = FilterJob(job.blob, job.header)
    await post.platform.queue.put("filter", [encode(filtered)] * times)
    await post.ended(job.header.mail_id, len(job.header.envelope.recipients))


async def test_a_sender_is_answered_once_in_a_period(post_of_both: Post) -> None:
    post = post_of_both
    await post.script("alice", AWAY)

    for _ in range(2):
        await _deliver(post, await post.job("alice"), times=2)
    (answer,) = await _answers(post)
    async with post.platform.database.transaction() as transaction:
        await transaction.execute(update(vacation_log).values(until=0.0))
    await _deliver(post, await post.job("alice"))

    assert len(await _answers(post)) == 2
    assert len(await post.rows(effect)) == 2
    assert answer.header.envelope.reverse_path == ""
    assert [r.address for r in answer.header.envelope.recipients] == ["you@elsewhere.example"]
    content = (await post.platform.blobs.read(answer.blob)).content
    found = message_from_bytes(content, policy=default)
    assert found["From"] == f"alice@{DOMAIN}"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found.get_content().strip() == "I am away."
    assert (await post.boxes("alice"))["INBOX"] == ["hello"] * 3


async def test_two_processes_at_once_give_one_answer(post_of_both: Post) -> None:
    """Two messages of one sender in one batch, and in two: the row decides."""
    post = post_of_both
    await post.script("alice", AWAY)
    jobs = [await post.job("alice") for _ in range(6)]

    for job in jobs:
        await post.platform.queue.put("filter", [encode(FilterJob(job.blob, job.header))])
    for job in jobs:
        await post.ended(job.header.mail_id, 1)

    assert len(await _answers(post)) == 1


@pytest.mark.parametrize("sender", ["", "owner-list@elsewhere.example", f"alice@{DOMAIN}"])
async def test_nobody_is_answered_who_must_not_be(post: Post, sender: str) -> None:
    await post.script("alice", AWAY)

    mail_id = await post.send("alice", sender=sender)

    assert await _answers(post) == []
    assert "vacation: no answer" in (await post.sieve_steps(mail_id))[-1]


async def test_a_group_s_mail_is_answered_by_none_of_its_members(post: Post) -> None:
    await post.alias("team", f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    await post.alias("boss", f"alice@{DOMAIN}")
    await post.script("alice", AWAY)
    content = CONTENT.replace(b"alice@", b"%b@")

    await post.send("team", content=content % b"team")
    assert await _answers(post) == []
    await post.send("boss", content=content % b"boss")

    (answer,) = await _answers(post)
    found = message_from_bytes((await post.platform.blobs.read(answer.blob)).content)
    assert found["From"] == f"boss@{DOMAIN}"


async def test_a_strange_from_is_not_used(post: Post) -> None:
    """S6: nobody writes in another's name, by a script neither."""
    await post.script(
        "alice", f'require "vacation"; vacation :from "Boss <bob@{DOMAIN}>" "I am away.";'
    )

    await post.send("alice")

    (answer,) = await _answers(post)
    found = message_from_bytes((await post.platform.blobs.read(answer.blob)).content)
    assert found["From"] == f"alice@{DOMAIN}"


async def test_junk_is_not_answered(post: Post) -> None:
    await post.script("alice", AWAY)

    job = await post.job("alice", verdict=Verdict.JUNK)
    await post.row(job)
    await post.platform.queue.put("delivery", [encode(job)])
    await post.ended(job.header.mail_id, 1)

    assert await _answers(post) == []
