"""The compose stack as a test starts it: on loopback ports of its own, ended with its volumes."""

from __future__ import annotations

import imaplib
import itertools
import json
import smtplib
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.integration.compose.engine import ROOT, compose_program, run
from tests.servers.process import free_ports

DOMAIN = "example.test"
PASSWORD = "compose-test-password"
ADDRESS = f"postmaster@{DOMAIN}"
_OURS = ("ingress", "filter", "delivery", "storage", "imap", "managesieve", "pop3", "relay", "api")
_OTHERS = ("rabbitmq", "postgres", "seaweedfs", "clamd", "unbound", "prometheus")
SERVICES = (*_OURS, *_OTHERS)
"""All but freshclam, Grafana and Roundcube: they need the internet, or images that none can make
from Debian's packages."""


def _block(count: int) -> int:
    """The first of `count` free loopback ports in a row."""
    while True:
        (first,) = free_ports(1)
        if all(_free(first + n) for n in range(count)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Stack:
    """`docker compose` of deploy/compose/compose.yaml under a project name of its own."""

    def __init__(self, env: Mapping[str, str], images: Mapping[str, str]) -> None:
        first = _block(3)
        names = ("SUBMISSION_PORTS", "SUBMISSIONS_PORTS", "IMAP_PORTS", "IMAPS_PORTS")
        names += ("POP3_PORTS", "POP3S_PORTS", "MANAGESIEVE_PORT", "API_PORT")
        ranges = {name: _block(3) for name in names[:2]}
        singles = dict(zip((*names[2:], "PROMETHEUS_PORT"), free_ports(6), strict=True))
        self.smtp_ports = range(first, first + 3)
        self.ports = {**ranges, **singles}
        self.env = {
            **env,
            **images,
            **{name: str(port) for name, port in singles.items()},
            **{name: f"{port}-{port + 2}" for name, port in ranges.items()},
            "SMTP_PORTS": f"{first}-{first + 2}",
            "POSTMASTER_PASSWORD": PASSWORD,
            "SUBNET": "172.29.54",
        }
        file = str(ROOT / "deploy/compose/compose.yaml")
        self._compose = [*compose_program(), "-p", "holub-test", "-f", file]

    def compose(self, *words: str, seconds: float = 600) -> str:
        """Run `docker compose WORDS`."""
        return run(*self._compose, *words, env=self.env, seconds=seconds)

    def up(self, *words: str) -> None:
        """Start, and return when all are healthy."""
        try:
            self.compose("up", "-d", "--no-build", "--wait", "--wait-timeout=400", *words)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        """The last lines of all services."""
        argv = [*self._compose, "logs", "--tail=15", "--no-color"]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True).stdout[-9000:]

    def down(self) -> None:
        """Stop everything and remove its volumes."""
        self.compose("down", "--volumes", "--timeout=5")

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).split()

    def restart(self, container: str) -> int:
        """SIGTERM, wait for its drain, start again, wait until healthy; the exit code."""
        run("docker", "stop", "-t", "60", container, env=self.env)
        found = run("docker", "inspect", "-f", "{{.State.ExitCode}}", container, env=self.env)
        run("docker", "start", container, env=self.env)
        self._wait_healthy(container)
        return int(found)

    def _wait_healthy(self, container: str) -> None:
        end = time.monotonic() + 180
        form = "{{.State.Health.Status}}"
        while run("docker", "inspect", "-f", form, container, env=self.env).strip() != "healthy":
            assert time.monotonic() < end, self.logs()
            time.sleep(0.5)

    def holub(self, *words: str) -> str:
        """Run a command of ours inside the api container."""
        return self.compose("exec", "-T", "api", "holub", *words)

    def imap(self) -> imaplib.IMAP4:
        """A session of postmaster, in INBOX."""
        client = imaplib.IMAP4("127.0.0.1", self.ports["IMAP_PORTS"], timeout=40)
        client.starttls(self.tls())
        client.login(ADDRESS, PASSWORD)
        client.select("INBOX", readonly=True)
        return client

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the authority which `holub setup` made."""
        pem = self.compose("exec", "-T", "api", "cat", "/var/lib/holub/tls/ca.pem")
        return ssl.create_default_context(cadata=pem)

    def metrics(self, service: str) -> str:
        """What a role's container says of itself."""
        argv = [
            "python3",
            "-c",
            "import urllib.request as u;"
            "print(u.urlopen('http://127.0.0.1:9100/metrics').read().decode())",
        ]
        return self.compose("exec", "-T", service, *argv)

    def targets(self) -> list[dict[str, Any]]:
        """What Prometheus scrapes now."""
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/targets"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return list(json.load(answer)["data"]["activeTargets"])


class Sender:
    """An MTA's manner: the next address until one takes MAIL, and from there nothing may fail."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self.accepted = 0
        self.failed: list[str] = []

    def send(self, number: int) -> None:
        """One message; whatever goes wrong after MAIL was taken is a failed transaction."""
        with self._begin(number) as client:
            try:
                code, text = client.rcpt(ADDRESS)
                if code == 250:
                    code, text = client.data(_content(number))
            except (OSError, smtplib.SMTPException) as error:
                self.failed.append(f"{number}: {error!r}")
                return
            if code == 250:
                self.accepted += 1
            else:
                self.failed.append(f"{number}: {code} {text!r}")

    def _begin(self, number: int) -> smtplib.SMTP:
        """A session whose MAIL was taken (RFC 5321 §5.1: every address is tried)."""
        end = time.monotonic() + 60
        for turn in itertools.count():
            port = self._ports[(number + turn) % len(self._ports)]
            try:
                client = smtplib.SMTP("127.0.0.1", port, local_hostname="load.example", timeout=60)
                client.ehlo()
                if client.mail("a@load.example")[0] == 250:
                    return client
            except (OSError, smtplib.SMTPException):
                assert time.monotonic() < end, "no address takes mail"
            time.sleep(0.02)
        raise AssertionError


def _content(number: int) -> bytes:
    head = f"From: a@load.example\r\nTo: {ADDRESS}\r\nSubject: load {number}\r\n"
    return f"{head}\r\n{number}\r\n".encode()
