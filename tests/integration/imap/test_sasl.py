"""AUTHENTICATE with GNU SASL, a client that we did not write."""

from __future__ import annotations

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


async def log_in_once(gateway: Running) -> None:
    """SCRAM keys are made when the password is heard for the first time."""
    assert (await gsasl(gateway, "PLAIN", PASSWORD))[0] == 0


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_gsasl_authenticates(gateway: Running, mechanism: str) -> None:
    await log_in_once(gateway)

    code, said = await gsasl(gateway, mechanism, PASSWORD, "--no-cb")
    assert code == 0, said
    wrong, said = await gsasl(gateway, mechanism, "wrong", "--no-cb")
    assert wrong != 0
    assert "AUTHENTICATIONFAILED" in said


@pytest.mark.parametrize("mechanism", PLUS_MECHANISMS)
async def test_gsasl_binds_scram_to_the_channel(gateway: Running, mechanism: str) -> None:
    await log_in_once(gateway)

    code, said = await gsasl(gateway, mechanism, PASSWORD, f"--priority={TLS_1_2}")

    assert code == 0, said
