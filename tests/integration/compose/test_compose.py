"""The image and the compose stack, built and run for real (HOLUB_COMPOSE=1)."""

from __future__ import annotations

import os
import smtplib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.compose.engine import EngineUnavailable, build_all, engine, run
from tests.integration.compose.stack import ADDRESS, PASSWORD, SERVICES, Sender, Stack

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("HOLUB_COMPOSE") != "1",
        reason="takes minutes and a container engine: make integration-compose",
    ),
    pytest.mark.timeout(1800),
]
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
MAX_IMAGE = 250_000_000


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    try:
        with engine() as env:
            stack = Stack(env, build_all(env))
            try:
                stack.up(*SERVICES)
                yield stack
            finally:
                stack.down()
    except EngineUnavailable as error:
        pytest.skip(str(error))


def _send(stack: Stack, content: bytes) -> str:
    with smtplib.SMTP("127.0.0.1", stack.smtp_ports[0], timeout=60) as client:
        client.ehlo("client.elsewhere.example")
        client.mail("you@elsewhere.example")
        client.rcpt(ADDRESS)
        code, text = client.data(content)
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return text.decode().split()[-1]


def _count(stack: Stack) -> int:
    client = stack.imap()
    _, found = client.search(None, "ALL")
    client.logout()
    return len(found[0].split())


def _wait_for(stack: Stack, count: int) -> None:
    end = time.monotonic() + 60
    while (found := _count(stack)) < count:
        assert time.monotonic() < end, f"{found} of {count}\n{stack.logs()}"
        time.sleep(0.5)


def test_the_image_is_small_runs_as_nobody_and_writes_nowhere(stack: Stack) -> None:
    form = "{{.Size}} {{.Config.User}}"
    size, user = run("docker", "inspect", "-f", form, "holub:test", env=stack.env).split()
    wrote = stack.compose("exec", "-T", "storage", "sh", "-c", "touch /opt/holub/x || echo no")

    assert int(size) < MAX_IMAGE
    assert user == "10001:10001"
    assert wrote.strip() == "no"


def test_a_message_goes_through_every_service_and_is_read_by_imap(stack: Stack) -> None:
    before = _count(stack)
    mail_id = _send(stack, b"From: you@elsewhere.example\r\nSubject: first\r\n\r\nhello\r\n")

    _wait_for(stack, before + 1)

    told = stack.holub("trace", mail_id)
    assert [role for role in ("ingress", "filter", "delivery", "storage") if role not in told] == []


def test_an_account_submits_with_tls_to_another_address_of_ours(stack: Stack) -> None:
    before = _count(stack)
    with smtplib.SMTP("127.0.0.1", stack.ports["SUBMISSION_PORTS"], timeout=60) as client:
        # The certificate names `localhost`; the address is 127.0.0.1, which it names too.
        client.starttls(context=stack.tls())
        client.login(ADDRESS, PASSWORD)
        client.sendmail(ADDRESS, [ADDRESS], f"From: {ADDRESS}\r\nSubject: own\r\n\r\nhi\r\n")

    _wait_for(stack, before + 1)


def test_a_virus_is_refused_by_the_clamd_of_the_stack(stack: Stack) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        _send(stack, b"From: you@elsewhere.example\r\n\r\n" + _EICAR + b"\r\n")

    assert refused.value.smtp_code == 550


def test_no_stranger_relays_through_the_published_port(stack: Stack) -> None:
    """The engine's proxy hides the client's address, which must give nobody any right."""
    with smtplib.SMTP("127.0.0.1", stack.smtp_ports[0], timeout=60) as client:
        client.ehlo("client.elsewhere.example")
        client.mail("you@elsewhere.example")
        code, _ = client.rcpt("friend@far.example")

    assert 500 <= code < 600


def test_a_probe_fails_when_its_process_is_stopped_and_passes_again(stack: Stack) -> None:
    """A probe that cannot fail proves nothing."""
    (container,) = stack.containers("delivery")
    form = "{{.State.Health.Status}}"

    run("docker", "pause", container, env=stack.env)
    try:
        ask = ["docker", "inspect", "-f", form, container]
        end = time.monotonic() + 180
        while run(*ask, env=stack.env).strip() != "unhealthy":
            assert time.monotonic() < end
            time.sleep(1)
    finally:
        run("docker", "unpause", container, env=stack.env)
    while run(*ask, env=stack.env).strip() != "healthy":
        assert time.monotonic() < end + 90
        time.sleep(1)


def test_prometheus_scrapes_every_role(stack: Stack) -> None:
    wanted = {
        "ingress",
        "filter",
        "delivery",
        "storage",
        "imap",
        "managesieve",
        "pop3",
        "relay",
        "api",
    }
    end = time.monotonic() + 90
    while True:
        up = {t["labels"].get("role") for t in stack.targets() if t["health"] == "up"}
        if wanted <= up:
            break
        assert time.monotonic() < end, stack.targets()
        time.sleep(1)


def test_three_replicas_are_restarted_one_by_one_under_load_and_no_transaction_fails(
    stack: Stack,
) -> None:
    stack.up("--no-recreate", "--scale", "ingress=3", "ingress")
    before = _count(stack)
    sender, stop = Sender(stack.smtp_ports), threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set():
            sender.send(number)
            number += 1
            stop.wait(0.05)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        codes = [stack.restart(container) for container in stack.containers("ingress")]
    finally:
        stop.set()
        thread.join()

    assert codes == [0, 0, 0]
    assert sender.failed == []
    assert sender.accepted > 30
    _wait_for(stack, before + sender.accepted)
    assert _count(stack) == before + sender.accepted
    assert "BAD" not in stack.holub("fsck")
