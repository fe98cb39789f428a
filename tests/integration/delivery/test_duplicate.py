"""What scripts remember and what they ask of mailboxes, at delivery."""

from __future__ import annotations

from sqlalchemy import select, update

from libs.common.db.schema import duplicate_log, mailbox
from libs.common.jobs import FilterJob, encode
from tests.integration.delivery.post import CONTENT, Post

ONCE = b"Message-ID: <1@elsewhere.example>\r\n" + CONTENT
SCRIPT = 'require ["duplicate", "fileinto"]; if duplicate { fileinto "Trash"; }'


async def test_the_second_message_with_an_id_is_a_duplicate(post_of_both: Post) -> None:
    post = post_of_both
    await post.script("alice", SCRIPT)

    for _ in range(2):
        await post.send("alice", "bob", content=ONCE)
    assert await post.boxes("alice") == {"INBOX": ["hello"], "Trash": ["hello"]}
    assert await post.boxes("bob") == {"INBOX": ["hello", "hello"]}
    async with post.platform.database.transaction() as transaction:
        await transaction.execute(update(duplicate_log).values(until=0.0))
    await post.send("alice", content=ONCE)

    assert await post.boxes("alice") == {"INBOX": ["hello", "hello"], "Trash": ["hello"]}


async def test_a_job_that_comes_again_is_no_duplicate_of_itself(post: Post) -> None:
    await post.script("alice", SCRIPT)
    job = await post.job("alice", content=ONCE)

    await post.platform.queue.put("filter", [encode(FilterJob(job.blob, job.header))] * 3)
    await post.ended(job.header.mail_id, 1)

    assert await post.boxes("alice") == {"INBOX": ["hello"]}


async def test_two_messages_of_one_batch_are_told_apart(post: Post) -> None:
    await post.script("alice", SCRIPT)
    jobs = [await post.job("alice", content=ONCE) for _ in range(4)]

    await post.platform.queue.put("filter", [encode(FilterJob(j.blob, j.header)) for j in jobs])
    for job in jobs:
        await post.ended(job.header.mail_id, 1)

    assert await post.boxes("alice") == {"INBOX": ["hello"], "Trash": ["hello"] * 3}


async def test_a_mailbox_is_found_by_its_use_and_made_with_it(post: Post) -> None:
    await post.script(
        "alice",
        'require ["fileinto", "mailbox", "special-use"];'
        'fileinto :specialuse "\\\\Archive" "Elsewhere";'
        'fileinto :create :specialuse "\\\\Flagged" "Starred";',
    )

    await post.send("alice")

    assert await post.boxes("alice") == {"Archive": ["hello"], "Starred": ["hello"]}
    async with post.platform.database.reading() as transaction:
        query = select(mailbox.c.special_use).where(mailbox.c.name == "Starred")
        assert await transaction.scalar(query) == "\\Flagged"
