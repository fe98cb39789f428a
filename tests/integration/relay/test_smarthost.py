"""Next hops by domain, and a smarthost that wants a login: aiosmtpd plays it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from libs.common.db.schema import deferred
from services.platform import Platform
from tests.integration.relay.host import Host
from tests.integration.relay.mail import put, relaying, rows, states, stored
from tests.servers.process import free_ports


class Smarthost:
    """Takes mail of those who logged in as `us` with `p,w:d`."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.passwords: list[bytes] = []

    async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> str:
        self.taken.append(envelope)
        return "250 taken"

    def authenticate(
        self, server: object, session: Session, envelope: object, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password)
        good = (data.login, data.password) == (b"us", b"p,w:d")
        return AuthResult(success=good, handled=False)


@pytest.fixture(params=["PLAIN", "LOGIN"])
def smarthost(
    request: pytest.FixtureRequest, environment: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Smarthost]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    handler = Smarthost()
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_ports(1)[0],
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=handler.authenticate,
        auth_exclude_mechanism={"PLAIN", "LOGIN"} - {request.param},
    )
    controller.start()
    environment.setenv("HOLUB_RELAY_TLS_AUTHORITIES", str(tmp_path / "ca.pem"))
    environment.setenv("HOLUB_RELAY_ROUTES", f"smart.test=127.0.0.1:{controller.port}")
    environment.setenv("HOLUB_RELAY_LOGINS", "127.0.0.1=us:p%2Cw%3Ad")
    yield handler
    controller.stop()


async def test_the_smarthost_of_a_domain_is_logged_in_to(
    platform: Platform, smarthost: Smarthost, host: Host
) -> None:
    job = await stored(platform, "a@smart.test", domain="smart.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "relayed"}

    assert [envelope.rcpt_tos for envelope in smarthost.taken] == [["a@smart.test"]]
    assert host.connections == 0


async def test_a_login_that_is_refused_defers_and_shows_no_password(
    platform: Platform,
    smarthost: Smarthost,
    environment: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    environment.setenv("HOLUB_RELAY_LOGINS", "127.0.0.1=us:wrong-secret")
    job = await stored(platform, "a@smart.test", domain="smart.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    (row,) = await rows(platform, deferred)
    assert "refuses the login of us" in row.last_reply
    assert smarthost.passwords == [b"wrong-secret"]
    assert "wrong-secret" not in row.last_reply + "".join(capfd.readouterr())


async def test_no_password_goes_over_plain_text(
    platform: Platform, host: Host, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOLUB_RELAY_LOGINS", "127.0.0.1=us:secret")
    environment.setenv("HOLUB_RELAY_TLS", "*=none")
    host.script.extensions = ("AUTH PLAIN LOGIN",)
    job = await stored(platform, "a@other.test")

    async with relaying(platform):
        await put(platform, job)
        assert await states(platform, 1) == {0: "deferred"}

    assert not any(line.startswith("AUTH") for line in host.lines)
