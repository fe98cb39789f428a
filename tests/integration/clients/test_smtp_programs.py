"""Programs that people send mail with, against the submission, MX and LMTP listeners."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed


def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program, or end the test when it is not installed."""
    needed(words[0])
    return subprocess.run(words, input=given, capture_output=True, timeout=90)


def message(subject: str) -> bytes:
    return f"From: bob@{DOMAIN}\r\nSubject: {subject}\r\n\r\n.dot\r\n".encode()


def arrived(holub: Holub, name: str, subject: str) -> list[bytes]:
    """The messages with that subject; waits for the first one."""
    wanted = f"Subject: {subject}\r\n".encode()
    for count in range(1, 200):
        found = [text for text in holub.wait_for(name, count) if wanted in text]
        if found:
            return found
    raise AssertionError(f"no {subject}")


@pytest.mark.parametrize(("scheme", "listener"), [("smtp", "submission"), ("smtps", "submissions")])
def test_curl_submits(holub: Holub, tmp_path: Path, scheme: str, listener: str) -> None:
    file = tmp_path / "mail"
    file.write_bytes(message(f"curl {scheme}"))

    done = run(
        "curl",
        *("--silent", "--show-error", "--ssl-reqd", "--cacert", str(holub.ca)),
        *("--url", f"{scheme}://localhost:{holub.ports[listener]}/client.example"),
        *("--user", f"bob@{DOMAIN}:{PASSWORD}"),
        *("--mail-from", f"bob@{DOMAIN}", "--mail-rcpt", f"heidi@{DOMAIN}"),
        *("--upload-file", str(file)),
    )

    assert done.returncode == 0, done.stderr
    (found,) = arrived(holub, "heidi", f"curl {scheme}")
    assert found.endswith(b"\r\n.dot\r\n")


@pytest.mark.parametrize(("listener", "starttls"), [("submission", "on"), ("submissions", "off")])
def test_msmtp_submits(holub: Holub, tmp_path: Path, listener: str, starttls: str) -> None:
    done = run(
        "msmtp",
        *("--file=/dev/null", "--host=localhost", f"--port={holub.ports[listener]}"),
        *("--tls=on", f"--tls-starttls={starttls}", f"--tls-trust-file={holub.ca}"),
        *("--auth=plain", f"--user=bob@{DOMAIN}", f"--passwordeval=echo {PASSWORD}"),
        *("--dsn-notify=failure,delay", "--dsn-return=headers"),
        *(f"--from=bob@{DOMAIN}", "--", f"heidi@{DOMAIN}"),
        given=message(f"msmtp {listener}"),
    )

    assert done.returncode == 0, done.stderr
    (found,) = arrived(holub, "heidi", f"msmtp {listener}")
    assert found.endswith(b".dot\r\n")


@pytest.mark.parametrize(("listener", "lmtp"), [("smtp", []), ("lmtp", ["-L"])])
def test_smtp_source_sends_many_at_once(holub: Holub, listener: str, lmtp: list[str]) -> None:
    """Of Postfix: 5 sessions, 40 messages."""
    before = holub.count("ivan")

    done = run(
        "smtp-source",
        *lmtp,
        *("-s", "5", "-m", "40", "-l", "5000", "-r", "1", "-d"),
        *("-f", "you@elsewhere.example", "-t", f"ivan@{DOMAIN}"),
        f"inet:127.0.0.1:{holub.ports[listener]}",
    )

    assert done.returncode == 0, done.stderr
    holub.wait_for("ivan", before + 40)
    assert holub.count("ivan") == before + 40
