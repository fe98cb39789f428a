"""Certificates as clients see them, under uvloop as in production."""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import trustme
import uvloop

from libs.common.runtime.settings import PlatformSettings
from libs.common.runtime.tls import Certificates
from tests.integration.ingress.ingress import Ingress, running

CA = trustme.CA()


def write(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    leaf = CA.issue_cert(name)
    for file, blob in (("tls.crt", leaf.cert_chain_pems[0]), ("tls.key", leaf.private_key_pem)):
        blob.write_to_path(str(folder / f"{file}.new"))
        os.replace(folder / f"{file}.new", folder / file)


def context(name: str) -> ssl.SSLContext:
    """A client that asks for this name, whatever it connects to."""
    made = ssl.create_default_context()
    CA.configure_trust(made)
    asked = made.wrap_socket

    def wrap(sock: object, **options: object) -> ssl.SSLSocket:
        return asked(sock, **{**options, "server_hostname": name})  # type: ignore[arg-type]

    made.wrap_socket = wrap  # type: ignore[method-assign, assignment]
    return made


def over_tls(ingress: Ingress, name: str) -> smtplib.SMTP:
    port = ingress.ports["submissions"]
    return smtplib.SMTP_SSL("127.0.0.1", port, context=context(name), timeout=20)


def with_starttls(ingress: Ingress, name: str) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", ingress.ports["mx"], timeout=20)
    client.starttls(context=context(name))
    return client


def talk(ingress: Ingress, replace: Callable[[], None]) -> None:
    """Each client verifies the name that it asked for, or its handshake fails."""
    for connect in (over_tls, with_starttls):
        with connect(ingress, "other.test") as client:
            assert client.noop()[0] == 250
    with over_tls(ingress, "mail.test") as before, with_starttls(ingress, "mail.test") as also:
        replace()
        with over_tls(ingress, "new.test") as after, with_starttls(ingress, "new.test") as too:
            for client in (before, also, after, too):
                assert client.noop()[0] == 250


def test_names_choose_certificates_and_a_new_file_drops_nobody(tmp_path: Path) -> None:
    write(tmp_path / "main", "mail.test")
    write(tmp_path / "more/other", "other.test")
    settings = PlatformSettings(
        tls_certificate=str(tmp_path / "main/tls.crt"),
        tls_key=str(tmp_path / "main/tls.key"),
        tls_folder=str(tmp_path / "more"),
    )
    certificates = Certificates(settings)

    def replace() -> None:
        write(tmp_path / "main", "new.test")
        assert certificates.reload()

    async def run() -> None:
        async with running(tmp_path, tls=certificates.context) as ingress:
            await asyncio.to_thread(talk, ingress, replace)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
