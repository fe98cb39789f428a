"""AUTH of submission with GNU SASL, smtplib, curl, swaks and msmtp."""

from __future__ import annotations

import smtplib
import subprocess
from pathlib import Path

import pytest

from libs.common.accounts.exchange import MECHANISMS, PLUS_MECHANISMS
from tests.servers.holub import DOMAIN, PASSWORD, Holub

ALICE = f"alice@{DOMAIN}"
TLS_1_2 = "NORMAL:-VERS-ALL:+VERS-TLS1.2"


def gsasl(holub: Holub, mechanism: str, password: str, *more: str) -> tuple[int, str]:
    done = subprocess.run(
        [
            "gsasl", "--smtp", f"--connect=localhost:{holub.ports['submission']}", "--starttls",
            f"--x509-ca-file={holub.ca}", f"--mechanism={mechanism}", "--verbose",
            f"--authentication-id={ALICE}", f"--password={password}", *more,
        ],
        capture_output=True, text=True, timeout=40, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gsasl_authenticates(holub: Holub, mechanism: str) -> None:
    code, said = gsasl(holub, mechanism, PASSWORD, "--no-cb")
    assert code == 0, said

    wrong, said = gsasl(holub, mechanism, "wrong", "--no-cb")
    assert wrong != 0
    assert "535 5.7.8" in said


@pytest.mark.parametrize("mechanism", PLUS_MECHANISMS)
def test_gsasl_binds_scram_to_the_channel(holub: Holub, mechanism: str) -> None:
    code, said = gsasl(holub, mechanism, PASSWORD, f"--priority={TLS_1_2}")

    assert code == 0, said
    assert mechanism in said.split("AUTH ")[1].split("\n")[0]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_curl_and_swaks_authenticate(holub: Holub, mechanism: str, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(f"From: {ALICE}\r\nSubject: hi\r\n\r\nhello\r\n".encode())
    curl = [
        "curl", "-sS", "--ssl-reqd", f"smtp://localhost:{holub.ports['submission']}/me.example",
        "--cacert", str(holub.ca), "--user", f"{ALICE}:{PASSWORD}", "--login-options",
        f"AUTH={mechanism}", "--mail-from", ALICE, "--mail-rcpt", f"bob@{DOMAIN}", "-T", str(mail),
    ]  # fmt: skip
    swaks = [
        "swaks", "-tls", "-p", str(holub.ports["submission"]), "-s", "localhost", "-f", ALICE,
        "-t", f"bob@{DOMAIN}", "-a", mechanism, "-au", ALICE, "-ap", PASSWORD, "-h", "me.example",
    ]  # fmt: skip

    for words in (curl, swaks):
        done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_all_mechanisms_are_announced_under_tls_only(holub: Holub) -> None:
    with smtplib.SMTP("localhost", holub.ports["submission"]) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        client.starttls(context=holub.tls())
        client.ehlo()

        assert tuple(client.esmtp_features["auth"].split()) == MECHANISMS


@pytest.mark.parametrize("mechanism", ["on", "scram-sha-256", "scram-sha-1", "plain", "login"])
def test_msmtp_authenticates_and_sends(holub: Holub, mechanism: str, tmp_path: Path) -> None:
    words = [
        "msmtp", "--host=localhost", f"--port={holub.ports['submission']}", "--tls=on",
        "--tls-starttls=on", f"--tls-trust-file={holub.ca}", f"--auth={mechanism}",
        f"--user={ALICE}", f"--passwordeval=echo '{PASSWORD}'", f"--from={ALICE}", f"bob@{DOMAIN}",
    ]  # fmt: skip

    done = subprocess.run(
        words,
        input=f"From: {ALICE}\nSubject: by msmtp\n\nhello\n",
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_client_may_cancel_and_an_unknown_mechanism_is_named(holub: Holub) -> None:
    with smtplib.SMTP_SSL("localhost", holub.ports["submissions"], context=holub.tls()) as client:
        client.ehlo()

        assert client.docmd("AUTH", "PLAIN")[0] == 334
        assert client.docmd("*")[0] == 501
        assert client.docmd("AUTH", "CRAM-MD5")[0] == 504
        assert client.docmd("AUTH", "PLAIN =")[0] == 501
        assert client.docmd("AUTH", "PLAIN !!!")[0] == 501
