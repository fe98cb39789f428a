"""Certificates of listeners: by name, read anew, counted down."""

from __future__ import annotations

import datetime
import os
import ssl
import time
from pathlib import Path

import pytest
import trustme
from prometheus_client import REGISTRY

from libs.common.runtime.settings import PlatformSettings, SettingsError
from libs.common.runtime.tls import Certificates

CA = trustme.CA()


def write(folder: Path, *names: str, days: int = 30) -> None:
    """A certificate as cert-manager mounts it, replaced at once."""
    folder.mkdir(parents=True, exist_ok=True)
    until = datetime.datetime.fromtimestamp(time.time() + days * 86400, datetime.UTC)
    leaf = CA.issue_cert(*names, not_after=until)
    for name, blob in (("tls.crt", leaf.cert_chain_pems[0]), ("tls.key", leaf.private_key_pem)):
        blob.write_to_path(str(folder / f"{name}.new"))
        os.replace(folder / f"{name}.new", folder / name)


@pytest.fixture
def settings(tmp_path: Path) -> PlatformSettings:
    write(tmp_path / "main", "mail.example.test")
    write(tmp_path / "more/a", "imap.other.test", "*.wild.test")
    return PlatformSettings(
        tls_certificate=str(tmp_path / "main/tls.crt"),
        tls_key=str(tmp_path / "main/tls.key"),
        tls_folder=str(tmp_path / "more"),
    )


def handshake(server: ssl.SSLContext, name: str | None) -> ssl.SSLObject:
    """In memory, with a client that asks for this name; the client's side."""
    client = ssl.create_default_context()
    CA.configure_trust(client)
    client.check_hostname = False
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(ours, theirs, server_hostname=name)
    answering = server.wrap_bio(theirs, ours, server_side=True)
    for side in (asking, answering, asking, answering):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return asking


def names_of(connection: ssl.SSLObject) -> set[str]:
    shown = connection.getpeercert() or {}
    return {value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("mail.example.test", {"mail.example.test"}),
        ("IMAP.other.test", {"imap.other.test", "*.wild.test"}),
        ("a.wild.test", {"imap.other.test", "*.wild.test"}),
        ("a.b.wild.test", {"mail.example.test"}),
        ("wild.test", {"mail.example.test"}),
        (None, {"mail.example.test"}),
    ],
)
def test_the_name_that_a_client_asks_for_chooses(
    settings: PlatformSettings, asked: str | None, shown: set[str]
) -> None:
    assert names_of(handshake(Certificates(settings).context, asked)) == shown


def test_changed_files_are_for_the_next_handshake_and_open_sessions_go_on(
    settings: PlatformSettings, tmp_path: Path
) -> None:
    certificates = Certificates(settings)
    before = handshake(certificates.context, None)
    write(tmp_path / "main", "new.example.test")
    write(tmp_path / "more/b", "b.other.test")

    assert certificates.reload()

    assert names_of(handshake(certificates.context, None)) == {"new.example.test"}
    assert names_of(handshake(certificates.context, "b.other.test")) == {"b.other.test"}
    assert names_of(before) == {"mail.example.test"}
    assert before.version() == "TLSv1.3"


@pytest.mark.parametrize("wrong", ["key of another", "gone", "no certificate"])
def test_files_that_cannot_be_used_change_nothing(
    settings: PlatformSettings, tmp_path: Path, wrong: str
) -> None:
    certificates = Certificates(settings)
    key, chain = tmp_path / "main/tls.key", tmp_path / "main/tls.crt"
    if wrong == "gone":
        key.unlink()
    elif wrong == "no certificate":
        chain.write_text("x")
    else:
        key.write_bytes((tmp_path / "more/a/tls.key").read_bytes())

    assert not certificates.reload()
    assert not certificates.reload()

    assert names_of(handshake(certificates.context, None)) == {"mail.example.test"}
    with pytest.raises(SettingsError):
        Certificates(settings)


def test_many_names_that_nobody_has_cost_nothing_that_is_kept(settings: PlatformSettings) -> None:
    """S12; CVE-2017-15130: a context for each name that a stranger makes up."""
    certificates = Certificates(settings)
    known = set(certificates._by_name)

    found = {id(certificates.find(f"n{n}.example")) for n in range(10_000)}

    assert found == {id(certificates.find(None))}
    assert set(certificates._by_name) == known


def test_nothing_older_than_tls_1_2_is_spoken(settings: PlatformSettings) -> None:
    """S12."""
    context = Certificates(settings).context

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_the_days_that_are_left_are_a_metric(settings: PlatformSettings, tmp_path: Path) -> None:
    write(tmp_path / "main", "mail.example.test", days=10)
    certificates = Certificates(settings)

    def days(name: str) -> float | None:
        return REGISTRY.get_sample_value("holub_tls_certificate_days", {"name": name})

    assert round(days("mail.example.test") or 0) == 10
    assert round(days("imap.other.test") or 0) == 30
    (tmp_path / "more/a/tls.crt").unlink()
    assert certificates.reload()
    assert days("imap.other.test") is None
