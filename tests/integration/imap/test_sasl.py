"""AUTHENTICATE with GNU SASL, a client that we did not write."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from libs.common.accounts.exchange import MECHANISMS, PLUS_MECHANISMS
from tests.integration.imap.running import ALICE, PASSWORD, Running, command

TLS_1_2 = "NORMAL:-VERS-ALL:+VERS-TLS1.2"


async def gsasl(gateway: Running, mechanism: str, password: str, *more: str) -> tuple[int, str]:
    return await command(
        "gsasl",
        "--imap",
        f"--connect=localhost:{gateway.port}",
        "--starttls",
        f"--x509-ca-file={gateway.ca}",
        f"--mechanism={mechanism}",
        f"--authentication-id={ALICE}",
        f"--password={password}",
        *more,
    )


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_gsasl_authenticates(gateway: Running, mechanism: str) -> None:
    code, said = await gsasl(gateway, mechanism, PASSWORD, "--no-cb")
    assert code == 0, said
    wrong, said = await gsasl(gateway, mechanism, "wrong", "--no-cb")
    assert wrong != 0
    assert "AUTHENTICATIONFAILED" in said


@pytest.mark.parametrize("mechanism", PLUS_MECHANISMS)
async def test_gsasl_binds_scram_to_the_channel(gateway: Running, mechanism: str) -> None:
    code, said = await gsasl(gateway, mechanism, PASSWORD, f"--priority={TLS_1_2}")

    assert code == 0, said
    assert f"AUTH={mechanism}" in said


async def test_mutt_opens_a_mailbox_by_what_it_finds_best(gateway: Running, tmp_path: Path) -> None:
    rc = tmp_path / "muttrc"
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    rc.write_text(
        f'set imap_user="{ALICE}"\nset imap_pass="{password}"\nset ssl_starttls=no\n'
        f"set ssl_force_tls=no\nset folder=imap://localhost:{gateway.port}/\nset quit=yes\n"
        'push "<quit>"\n'
    )
    url = f"imap://localhost:{gateway.port}/INBOX"
    mutt = shlex.join(["mutt", "-d", "2", "-n", "-F", str(rc), "-f", url])
    log = tmp_path / ".muttdebug0"

    code, output = await command(
        "script", "-qec", mutt, str(tmp_path / "typescript"), TERM="xterm", HOME=str(tmp_path)
    )

    assert code == 0, output
    assert "AUTHENTICATE SCRAM-SHA-256" in log.read_text()
