"""Scripts at delivery: what they ask for is done once, and nothing is lost by them."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from libs.common.blobstore.protocol import BlobRef
from libs.common.db.schema import effect, outbox, sieve_script
from libs.common.jobs import Client, RelayJob, Verdict, decode, encode
from libs.common.mailstore import Flag
from libs.common.scripts import put_script
from tests.integration.delivery.post import CONTENT, DOMAIN, Post, eventually

ELSEWHERE = "friend@far.example"
CIRCLE = 'if true {{ redirect "{}@example.test"; }}'


async def test_a_script_files_into_a_mailbox_that_it_has_made_with_flags(
    post_of_both: Post,
) -> None:
    post = post_of_both
    await post.script(
        "alice",
        'require ["fileinto", "mailbox", "imap4flags"];'
        'fileinto :create :flags ["\\\\Seen", "$work"] "Work/Bills";',
    )

    mail_id = await post.send("alice")

    (found,) = await post.messages("alice")
    assert found.name == "Work/Bills"
    assert found.flags == Flag.SEEN
    assert found.keywords == "$work"
    assert await post.states(mail_id) == {f"alice@{DOMAIN}": "delivered"}
    (step, *tests) = await post.sieve_steps(mail_id)
    assert step == r'main: fileinto :create :flags ["\\Seen", "$work"] "Work/Bills"'
    assert tests == ["line 1: fileinto"]


async def test_a_mailbox_that_is_not_there_does_not_lose_the_mail(post: Post) -> None:
    await post.script("alice", 'require "fileinto"; fileinto "Nowhere";')

    await post.send("alice")

    assert await post.boxes("alice") == {"INBOX": ["hello"]}


async def test_mail_of_others_is_not_touched(post: Post) -> None:
    await post.script("alice", "discard;")

    mail_id = await post.send("alice", "bob")

    assert await post.boxes("alice") == {}
    assert await post.boxes("bob") == {"INBOX": ["hello"]}
    assert await post.states(mail_id) == {
        f"alice@{DOMAIN}": "discarded",
        f"bob@{DOMAIN}": "delivered",
    }


async def test_what_is_discarded_names_the_script(post: Post) -> None:
    await post.script("alice", "discard;")

    mail_id = await post.send("alice")

    assert await post.why(mail_id) == f"by the Sieve script 'main' of alice@{DOMAIN}"


async def test_a_group_delivers_to_those_who_keep_it(post: Post) -> None:
    await post.alias("team", f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    await post.script("alice", "discard;")

    mail_id = await post.send("team")

    assert await post.boxes("bob") == {"INBOX": ["hello"]}
    assert await post.states(mail_id) == {f"team@{DOMAIN}": "delivered"}


async def test_junk_stays_junk_unless_the_script_files_it(post: Post) -> None:
    await post.script("alice", 'if header "subject" "other" { discard; }')
    await post.script("bob", 'require "fileinto"; fileinto "Archive";')

    job = await post.job("alice", "bob", verdict=Verdict.JUNK)
    await post.row(job)
    await post.platform.queue.put("delivery", [encode(job)])
    await post.ended(job.header.mail_id, 2)

    assert await post.boxes("alice") == {"Junk": ["hello"]}
    assert await post.boxes("bob") == {"Archive": ["hello"]}


async def test_a_redirect_elsewhere_is_one_forward_however_often_the_job_comes(
    post_of_both: Post,
) -> None:
    post = post_of_both
    await post.script("alice", f'redirect "{ELSEWHERE}";')

    job = await post.job("alice")
    await post.platform.queue.put("delivery", [encode(job)] * 3)
    await post.ended(job.header.mail_id, 1)
    await eventually(lambda: _idle(post, "delivery"))

    (forward,) = await post.forwards()
    assert forward.header.envelope.recipients[0].address == ELSEWHERE
    assert forward.header.parent == job.header.mail_id
    assert forward.header.envelope.reverse_path.startswith("SRS0=")
    assert forward.header.fields == f"Delivered-To: alice@{DOMAIN}\r\n"
    assert await post.states(job.header.mail_id) == {f"alice@{DOMAIN}": "forwarded"}
    assert await post.boxes("alice") == {}


async def test_redirect_with_copy_keeps_the_message_too(post: Post) -> None:
    await post.script("alice", f'require "copy"; redirect :copy "{ELSEWHERE}";')

    mail_id = await post.send("alice")

    assert len(await post.forwards()) == 1
    assert await post.boxes("alice") == {"INBOX": ["hello"]}
    assert await post.states(mail_id) == {f"alice@{DOMAIN}": "delivered"}


async def test_a_redirect_to_a_neighbour_runs_his_script(post: Post) -> None:
    await post.script("alice", f'redirect "bob@{DOMAIN}";')
    await post.script("bob", 'require "fileinto"; fileinto "Archive";')

    mail_id = await post.send("alice")

    assert await post.boxes("alice") == {}
    assert await post.boxes("bob") == {"Archive": ["hello"]}
    assert await post.states(mail_id) == {f"alice@{DOMAIN}": "delivered"}


async def test_redirects_in_a_circle_keep_the_message(post: Post) -> None:
    await post.script("alice", CIRCLE.format("bob"))
    await post.script("bob", CIRCLE.format("carol"))
    await post.script("carol", CIRCLE.format("alice"))

    mail_id = await post.send("alice")

    assert await post.states(mail_id) == {f"alice@{DOMAIN}": "delivered"}
    assert await post.boxes("alice") == {"INBOX": ["hello"]}


async def test_what_has_been_here_before_is_not_redirected_again(post: Post) -> None:
    """It went out, and somebody sent it back: the mark that it carries ends the loop (I13)."""
    await post.script("alice", f'redirect "{ELSEWHERE}";')

    mail_id = await post.send(
        "alice", content=f"Delivered-To: alice@{DOMAIN}\r\n".encode() + CONTENT
    )

    assert await post.forwards() == []
    assert (await post.boxes("alice"))["INBOX"][0] == "hello"
    assert "has been here before" in (await post.sieve_steps(mail_id))[0]


async def test_a_redirect_to_nobody_keeps_the_message(post: Post) -> None:
    await post.script("alice", f'redirect "nobody@{DOMAIN}";')

    await post.send("alice")

    assert (await post.boxes("alice"))["INBOX"][0] == "hello"


async def test_more_redirects_than_are_allowed_keep_the_message_and_do_none(post: Post) -> None:
    lines = "".join(f'redirect "friend{n}@far.example";' for n in range(5))
    await post.script("alice", lines)

    await post.send("alice")

    assert (await post.boxes("alice"))["INBOX"][0] == "hello"
    assert await post.forwards() == []


async def test_a_script_that_breaks_off_keeps_the_mail_and_its_owner_is_told_once(
    post_of_both: Post,
) -> None:
    post = post_of_both
    await post.script("alice", 'require "ihave"; error "out of order";')

    first = await post.send("alice")
    await eventually(lambda: _count(post, "alice", 2))
    await post.send("alice")

    subjects = (await post.boxes("alice"))["INBOX"]
    assert sorted(subjects) == ["Your Sieve script has a fault", "hello", "hello"]
    assert "out of order" in (await post.sieve_steps(first))[0]
    (row,) = await post.rows(sieve_script)
    assert "out of order" in row.fault
    notice = await _content(post, "alice", "Your Sieve script has a fault")
    assert b"out of order" in notice
    assert b"Auto-Submitted: auto-generated" in notice


async def test_a_changed_script_is_in_force_at_once(post: Post) -> None:
    await post.script("alice", "discard;")
    await post.send("alice")
    await post.script("alice", "keep;")

    await post.send("alice")

    assert await post.boxes("alice") == {"INBOX": ["hello"]}


async def test_a_stored_script_that_does_not_compile_keeps_the_mail(post: Post) -> None:
    await post.script("alice", "keep;")
    async with post.platform.database.transaction() as transaction:
        await transaction.execute(update(sieve_script).values(content=b"nonsense;"))

    mail_id = await post.send("alice")

    assert "hello" in (await post.boxes("alice"))["INBOX"]
    assert "no command 'nonsense'" in (await post.sieve_steps(mail_id))[0]


@pytest.mark.parametrize(
    ("client", "prefix"),
    [
        (Client("192.0.2.1", account=7, login="x@example.test"), ""),
        (None, "Authentication-Results: mx;\r\n spf=pass smtp.mailfrom=elsewhere.example\r\n"),
        (
            None,
            "Authentication-Results: mx;\r\n spf=fail smtp.mailfrom=elsewhere.example;\r\n"
            " dmarc=pass header.from=elsewhere.example policy.dmarc=none\r\n",
        ),
    ],
)
async def test_a_known_sender_is_told_that_it_was_refused(
    post: Post, client: Client | None, prefix: str
) -> None:
    await post.script("alice", 'require "reject"; reject "Not today, thanks.";')

    job = await post.job("alice", client=client, prefix=prefix)
    await post.platform.queue.put("delivery", [encode(job)] * 2)
    await post.ended(job.header.mail_id, 1)

    assert await post.states(job.header.mail_id) == {f"alice@{DOMAIN}": "bounced"}
    (told,) = await post.rows(effect)
    dsn = await eventually(lambda: _relayed(post, told.child))
    content = (await post.platform.blobs.read(dsn.blob)).content
    assert b"Not today, thanks." in content
    assert dsn.header.envelope.reverse_path == ""
    assert dsn.header.envelope.recipients[0].address == "you@elsewhere.example"


@pytest.mark.parametrize(
    ("sender", "prefix"),
    [
        ("you@elsewhere.example", ""),
        (
            "you@elsewhere.example",
            "Authentication-Results: mx; spf=pass smtp.mailfrom=o.example\r\n",
        ),
        ("", "Authentication-Results: mx;\r\n spf=pass smtp.helo=elsewhere.example\r\n"),
    ],
)
async def test_who_may_be_forged_is_not_told(post: Post, sender: str, prefix: str) -> None:
    """I9: no backscatter."""
    await post.script("alice", 'require "ereject"; ereject "Not today, thanks.";')

    job = await post.job("alice", sender=sender, prefix=prefix)
    await post.platform.queue.put("delivery", [encode(job)])
    await post.ended(job.header.mail_id, 1)

    assert await post.states(job.header.mail_id) == {f"alice@{DOMAIN}": "discarded"}
    assert await post.rows(effect) == []
    assert await post.rows(outbox) == []


async def test_a_script_includes_others_of_its_owner_as_they_are_now(post: Post) -> None:
    await post.script("alice", 'require "include"; include "lists"; include :optional "none";')
    for mailbox in ("Archive", "Trash"):
        text = f'require "fileinto"; fileinto "{mailbox}";'
        async with post.platform.database.transaction() as transaction:
            await put_script(transaction, post.ids["alice"], "lists", text.encode())
        await post.send("alice")

    assert await post.boxes("alice") == {"Archive": ["hello"], "Trash": ["hello"]}


async def test_a_large_message_is_read_as_far_as_the_script_looks(post: Post) -> None:
    await post.script("alice", 'require ["fileinto"]; if size :over 300K { fileinto "Archive"; }')
    await post.script(
        "bob", 'require ["fileinto", "body"]; if body :contains "needle" { fileinto "Archive"; }'
    )

    await post.send("alice", "bob", content=CONTENT + b"hay\r\n" * 100_000 + b"needle\r\n")

    assert await post.boxes("alice") == {"Archive": ["hello"]}
    assert await post.boxes("bob") == {"Archive": ["hello"]}


async def _idle(post: Post, queue: str) -> bool:
    return (await post.platform.queue.depth(queue)).jobs == 0


async def _count(post: Post, name: str, count: int) -> bool:
    return len(await post.messages(name)) == count


async def _content(post: Post, name: str, subject: str) -> bytes:
    (row,) = [row for row in await post.messages(name) if row.subject == subject]
    ref = BlobRef(row.segment, row.record_offset, row.record_length)
    return (await post.platform.blobs.read(ref)).content


async def _relayed(post: Post, mail_id: str) -> RelayJob | None:
    """The relay job of a DSN, taken from the queue."""
    if (await post.platform.queue.depth("relay")).jobs == 0:
        return None
    consumer = await post.platform.queue.consume("relay", 1)
    (lease,) = await consumer.take(1)
    await lease.ack()
    await consumer.close()
    job = decode(lease.body, RelayJob)
    assert job.header.mail_id == mail_id
    return job
