"""The whole platform in one process on the embedded backends, as `make run` starts it."""

from __future__ import annotations

import contextlib
import json
import signal
import smtplib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.process import free_ports


@pytest.fixture
def holub(tmp_path: Path) -> Iterator[Holub]:
    holub = Holub(tmp_path)
    holub.prepare("alice", "bob")
    yield holub
    holub.kill()


def content(subject: str) -> bytes:
    return f"From: you@elsewhere.example\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


def test_a_message_goes_from_smtp_to_imap_and_its_trace_shows_every_role(holub: Holub) -> None:
    holub.start("all")

    mail_id = holub.send(content("one"), f"alice@{DOMAIN}")
    (found,) = holub.wait_for("alice", 1)

    assert found.endswith(content("one"))
    assert found.startswith(b"Return-Path: <you@elsewhere.example>\r\nDelivered-To: alice@")
    (story,) = json.loads(holub.must("trace", mail_id, "--json"))
    assert [step["stage"] for step in story["steps"]] == [
        "ingress",
        "filter",
        "delivery",
        "storage",
    ]
    assert [state["state"] for state in story["recipients"]] == ["delivered"]
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]


def test_a_second_start_keeps_all_mail_and_stopping_exits_with_zero(holub: Holub) -> None:
    holub.start("all")
    holub.send(content("kept"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    start = time.monotonic()

    assert holub.stop() == [0]
    assert time.monotonic() - start < 10

    holub.start("all")
    holub.send(content("second"), f"alice@{DOMAIN}")
    assert len(holub.wait_for("alice", 2)) == 2


def test_what_was_answered_250_survives_a_kill(holub: Holub) -> None:
    process = holub.start("all", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    for number in range(40):
        holub.send(content(f"number {number}"), f"alice@{DOMAIN}")
    process.send_signal(signal.SIGKILL)
    process.wait()

    holub.start("all")

    found = holub.wait_for("alice", 40)
    time.sleep(1)
    assert len(holub.contents("alice")) == 40
    subjects = {message.split(b"Subject: ")[1].split(b"\r\n")[0] for message in found}
    assert subjects == {b"number %d" % number for number in range(40)}
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]


def test_with_the_queue_deleted_the_sweeper_delivers_what_was_accepted(holub: Holub) -> None:
    """I16: the durable segment is the promise, and nobody has to act."""
    holub.start("ingress", env={"HOLUB_INGRESS_VERDICT_SECONDS": "0"})
    for number in range(10):
        holub.send(content(f"number {number}"), f"alice@{DOMAIN}")
    holub.stop()
    for path in holub.folder.glob("queue.db*"):
        path.unlink()

    holub.start(
        "all",
        env={
            "HOLUB_STORAGE_SWEEP_EVERY_SECONDS": "0.5",
            "HOLUB_STORAGE_SWEEP_AFTER_SECONDS": "1",
        },
    )

    holub.wait_for("alice", 10)
    time.sleep(2)
    assert len(holub.contents("alice")) == 10


def test_an_alias_leads_to_each_of_its_accounts_once(holub: Holub) -> None:
    holub.must("alias", "create", f"team@{DOMAIN}", f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    holub.start("all")

    holub.send(content("team"), f"team@{DOMAIN}", f"alice@{DOMAIN}")

    assert len(holub.wait_for("alice", 1)) == 1
    assert len(holub.wait_for("bob", 1)) == 1
    time.sleep(0.5)
    assert len(holub.contents("alice")) == 1


def test_mail_for_elsewhere_waits_as_a_row_while_dns_does_not_answer(holub: Holub) -> None:
    (nobody,) = free_ports(1)
    holub.env["HOLUB_DNS_SERVERS"] = f"127.0.0.1:{nobody}"
    holub.start("all")
    with smtplib.SMTP("localhost", holub.ports["submission"], timeout=40) as client:
        client.starttls(context=holub.tls())
        client.login(f"alice@{DOMAIN}", PASSWORD)
        text = content("out").decode().replace("you@elsewhere.example", f"alice@{DOMAIN}")
        client.sendmail(f"alice@{DOMAIN}", ["friend@far.example"], text)

    end = time.monotonic() + 60
    while True:
        rows = {
            row["name"]: row["jobs"] for row in json.loads(holub.must("queue", "list", "--json"))
        }
        if rows["deferred"] == 1:
            break
        assert time.monotonic() < end, rows
        time.sleep(0.2)

    (story,) = json.loads(holub.must("trace", "friend@far.example", "--json"))
    assert story["recipients"][0]["state"] == "deferred"


def test_a_port_in_use_is_one_line_that_says_what_to_do(holub: Holub) -> None:
    holub.start("all")
    (port,) = free_ports(1)
    holub.env["HOLUB_HEALTH_PORT"] = str(port)

    done = holub.command("run", "imap")

    assert done.returncode == 1
    assert "HOLUB_IMAP_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_all_named_and_stop_the_start(holub: Holub) -> None:
    holub.env |= {"HOLUB_IMAP_PORT": "many", "HOLUB_IMAP_TSL_PORT": "1"}

    done = holub.command("run", "imap", "--check")

    assert done.returncode == 1
    assert "HOLUB_IMAP_PORT" in done.stderr
    assert "HOLUB_IMAP_TSL_PORT: no such setting" in done.stderr


def test_a_database_of_another_version_stops_the_start(tmp_path: Path) -> None:
    holub = Holub(tmp_path)
    # Its own port, for the start is refused for a taken one before the database is looked at.
    holub.env["HOLUB_HEALTH_PORT"] = str(free_ports(1)[0])

    done = holub.command("run", "storage")

    assert done.returncode == 1
    assert "holub migrate" in done.stderr


def test_every_message_of_the_corpus_arrives_byte_for_byte(holub: Holub, corpus: Path) -> None:
    """I12, for real mail and for broken mail; only its line ends are made CRLF first."""
    holub.start(
        "all", env={"HOLUB_INGRESS_MAX_RECEIVED": "200", "HOLUB_INGRESS_VERDICT_SECONDS": "0"}
    )
    sent = set()
    paths = sorted(corpus.glob("*/*.eml"))
    with holub.smtp() as client:
        for path in paths:
            raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            body = raw.replace(b"\n", b"\r\n")
            body += b"" if body.endswith(b"\r\n") else b"\r\n"
            client.ehlo_or_helo_if_needed()
            client.mail("you@elsewhere.example")
            client.rcpt(f"alice@{DOMAIN}")
            code, text = client.data(body)
            assert code == 250, f"{path}: {code} {text!r}"
            sent.add(body)

    found = holub.wait_for("alice", len(paths), seconds=60)

    missing = [body[:200] for body in sent if not any(m.endswith(body) for m in found)]
    assert not missing
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]


def test_what_is_delivered_comes_into_the_index_of_search_by_itself(holub: Holub) -> None:
    holub.start("all")
    holub.send(content("to be found"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)

    end = time.monotonic() + 60
    documents: list[tuple[str, str]] = []
    while not documents:
        assert time.monotonic() < end
        time.sleep(0.2)
        with contextlib.closing(sqlite3.connect(holub.folder / "holub.db")) as database:
            documents = database.execute("SELECT head, body FROM search_document").fetchall()

    ((head, body),) = documents
    assert "subject: to be found" in head
    assert body == "hello\r\n"
