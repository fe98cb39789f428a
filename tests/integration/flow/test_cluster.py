"""Each role a process of its own, over RabbitMQ, PostgreSQL, S3 and clamd."""

from __future__ import annotations

import asyncio
import json
import signal
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from libs.common.queue.protocol import QUEUES
from tests.servers.clamd import Clamd
from tests.servers.holub import DOMAIN, Holub, run_roles
from tests.servers.rabbitmq import RabbitMQ

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SWEEP = {"HOLUB_STORAGE_SWEEP_EVERY_SECONDS": "0.5", "HOLUB_STORAGE_SWEEP_AFTER_SECONDS": "2"}


@pytest.fixture
def holub(
    tmp_path: Path, rabbitmq_url: str, empty_postgres_url: str, s3_url: str, clamd: Clamd
) -> Iterator[Holub]:
    holub = Holub(
        tmp_path,
        {
            "HOLUB_DATABASE_URL": empty_postgres_url,
            "HOLUB_QUEUE_URL": rabbitmq_url,
            "HOLUB_BLOB_URL": s3_url,
            "HOLUB_FILTER_CLAMD": clamd.url,
            **SWEEP,
        },
    )
    holub.prepare("alice", "bob")
    yield holub
    holub.kill()


def content(subject: str, text: bytes = b"hello") -> bytes:
    head = f"From: you@elsewhere.example\r\nSubject: {subject}\r\n\r\n".encode()
    return head + text + b"\r\n"


def lmtp_replies(holub: Holub, octets: bytes) -> list[int]:
    """The codes after the dot, one for each of two recipients (RFC 2033 §4.2)."""
    with smtplib.LMTP("localhost", holub.ports["lmtp"], timeout=40) as client:
        client.docmd("LHLO", "client.example")
        client.mail("you@elsewhere.example")
        for name in ("alice", "bob"):
            assert client.rcpt(f"{name}@{DOMAIN}")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(octets + b".\r\n")
        return [client.getreply()[0] for _ in range(2)]


def test_a_message_passes_every_process_and_malware_is_refused_before_the_250(
    holub: Holub,
) -> None:
    run_roles(holub, ("storage", "delivery", "filter", "imap", "ingress"))

    mail_id = holub.send(content("one"), f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        holub.send(content("bad", EICAR), f"alice@{DOMAIN}")

    assert refused.value.smtp_code == 550
    assert str(refused.value.smtp_error).startswith("b'5.7.1 ")
    assert lmtp_replies(holub, content("bad", EICAR)) == [550, 550]
    (found,) = holub.wait_for("alice", 1)
    assert found.endswith(content("one"))
    assert len(holub.wait_for("bob", 1)) == 1
    (story,) = json.loads(holub.must("trace", mail_id, "--json"))
    stages = list(dict.fromkeys(step["stage"] for step in story["steps"]))
    assert stages == ["ingress", "filter", "delivery", "storage"]
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]
    assert holub.stop() == [0] * 5


def test_malware_whose_verdict_is_late_is_quarantined(holub: Holub) -> None:
    run_roles(holub, ("storage", "delivery", "imap"))
    holub.start("ingress", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    holub.start("filter")

    mail_id = holub.send(content("bad", EICAR), f"alice@{DOMAIN}")
    holub.send(content("good"), f"alice@{DOMAIN}")

    (found,) = holub.wait_for("alice", 1)
    assert found.endswith(content("good"))
    (story,) = json.loads(holub.must("trace", mail_id, "--json"))
    assert [state["state"] for state in story["recipients"]] == ["quarantined"]


def test_killed_roles_lose_and_double_nothing(holub: Holub) -> None:
    run_roles(holub, ("imap",))
    workers = {role: holub.start(role) for role in ("storage", "delivery", "filter")}
    holub.start("ingress", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    count = 60
    for number in range(count):
        holub.send(content(f"number {number}"), f"alice@{DOMAIN}")
        if number % 15 == 7:
            role = ("filter", "delivery", "storage")[number // 15 % 3]
            workers[role].send_signal(signal.SIGKILL)
            workers[role].wait()
            workers[role] = holub.start(role)

    holub.wait_for("alice", count, seconds=60)

    time.sleep(3)
    found = holub.contents("alice")
    assert len(found) == count
    assert len({m.split(b"Subject: ")[1].split(b"\r\n")[0] for m in found}) == count
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]


def test_with_every_queue_deleted_the_sweeper_delivers_what_was_accepted(
    holub: Holub, rabbitmq_url: str
) -> None:
    """I16, with no operator action."""
    holub.start("ingress", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    for number in range(20):
        holub.send(content(f"number {number}"), f"alice@{DOMAIN}")
    asyncio.run(_delete_queues(rabbitmq_url))

    run_roles(holub, ("storage", "delivery", "filter", "imap"))

    holub.wait_for("alice", 20, seconds=40)
    time.sleep(2)
    assert holub.count("alice") == 20


async def _delete_queues(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in QUEUES:
            await channel.queue_delete(queue)


def test_ingress_accepts_while_the_broker_is_down_and_all_of_it_is_delivered_after(
    holub: Holub, rabbitmq: RabbitMQ
) -> None:
    run_roles(holub, ("storage", "delivery", "filter", "imap"))
    holub.start("ingress", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    holub.send(content("before"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    rabbitmq.kill()
    try:
        for number in range(5):
            holub.send(content(f"during {number}"), f"alice@{DOMAIN}")
    finally:
        rabbitmq.start()

    holub.send(content("after"), f"alice@{DOMAIN}")

    holub.wait_for("alice", 7, seconds=90)
    time.sleep(3)
    assert holub.count("alice") == 7
    assert json.loads(holub.must("fsck", "--json"))["clean"]
