"""Two gateway processes over RabbitMQ and PostgreSQL: what happens at one is seen at the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.process import free_ports
from tests.servers.rabbitmq import RabbitMQ

MESSAGE = b"From: ann@other.test\r\nSubject: news\r\n\r\nhello\r\n"
SECONDS = 60.0
"""How long a test waits at most; what it waits for takes far less."""


@pytest.fixture
def holub(tmp_path: Path, rabbitmq_url: str, empty_postgres_url: str) -> Iterator[Holub]:
    holub = Holub(
        tmp_path, {"HOLUB_DATABASE_URL": empty_postgres_url, "HOLUB_QUEUE_URL": rabbitmq_url}
    )
    holub.prepare("alice")
    yield holub
    holub.kill()


def gateway(holub: Holub, queue_url: str = "") -> IMAPClient:
    """A client in INBOX, on a new gateway process of its own."""
    port, tls_port = free_ports(2)
    env = {"HOLUB_IMAP_PORT": str(port), "HOLUB_IMAP_TLS_PORT": str(tls_port)}
    if queue_url:
        env["HOLUB_QUEUE_URL"] = queue_url
    holub.start("imap", env=env)
    client = IMAPClient("127.0.0.1", port, ssl=False, timeout=SECONDS)
    client.login(f"alice@{DOMAIN}", PASSWORD)
    client.select_folder("INBOX")
    return client


def told(client: IMAPClient, wanted: Callable[[Any], bool]) -> bool:
    """Whether an idling client is told of it."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if any(wanted(answer) for answer in client.idle_check(timeout=1)):
            return True
    return False


def exists(count: int) -> Callable[[Any], bool]:
    return lambda answer: tuple(answer) == (count, b"EXISTS")


def expunged(number: int) -> Callable[[Any], bool]:
    return lambda answer: tuple(answer) == (number, b"EXPUNGE")


def flagged(flag: bytes) -> Callable[[Any], bool]:
    return lambda answer: answer[1] == b"FETCH" and flag in answer[2][answer[2].index(b"FLAGS") + 1]


@pytest.mark.timeout(300)
def test_idle_at_one_gateway_hears_of_append_flags_and_expunge_at_the_other(holub: Holub) -> None:
    here, there = gateway(holub), gateway(holub)

    there.idle()
    here.append("INBOX", MESSAGE)
    assert told(there, exists(1))
    here.noop()
    here.add_flags([1], [b"\\Flagged"])
    assert told(there, flagged(b"\\Flagged"))
    here.add_flags([1], [b"\\Deleted"])
    here.expunge()
    assert told(there, expunged(1))
    there.idle_done()

    here.idle()
    there.append("INBOX", MESSAGE)
    assert told(here, exists(1))
    here.idle_done()
    uids = here.search("ALL"), there.search("ALL")
    assert uids == ([2], [2])


@pytest.mark.timeout(300)
def test_a_gateway_that_hears_no_notice_catches_up_by_itself(
    holub: Holub, rabbitmq: RabbitMQ
) -> None:
    """It listens where nobody speaks: every notice is lost to it, so it compares (rule 11)."""
    here = gateway(holub)
    deaf = gateway(holub, rabbitmq.url(rabbitmq.new_vhost()))

    deaf.idle()
    here.append("INBOX", MESSAGE)
    assert told(deaf, exists(1))
    here.noop()
    here.add_flags([1], [b"\\Deleted"])
    here.expunge()
    assert told(deaf, expunged(1))
    deaf.idle_done()
