"""The command line, on its own database and on a server."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.servers.holub import DOMAIN, PASSWORD, Holub


@pytest.fixture
def holub(tmp_path: Path) -> Iterator[Holub]:
    holub = Holub(tmp_path)
    holub.prepare("alice")
    yield holub
    holub.kill()


def listed(holub: Holub, *words: str) -> list[dict[str, object]]:
    return list(json.loads(holub.must(*words, "--json")))


@pytest.mark.timeout(400)
def test_what_is_made_by_one_command_is_shown_by_another(holub: Holub) -> None:
    holub.must("tenant", "create", "acme")
    holub.must("domain", "create", "acme.test", "--tenant", "acme")
    made = holub.must("account", "create", "bob@acme.test")
    holub.must(
        "account",
        "create",
        "team@acme.test",
        "--count",
        "3",
        "--password-stdin",
        given=f"{PASSWORD}\n",
    )
    holub.must("alias", "create", "sales@acme.test", "bob@acme.test", "x@elsewhere.example")
    holub.must("account", "set", "bob@acme.test", "--disable")

    assert "password: " in made
    accounts = listed(holub, "account", "list", "--domain", "acme.test")
    assert [item["address"] for item in accounts] == [
        "bob@acme.test",
        "team1@acme.test",
        "team2@acme.test",
        "team3@acme.test",
    ]
    assert accounts[0]["enabled"] is False
    assert listed(holub, "alias", "list")[0]["targets"] == ["bob@acme.test", "x@elsewhere.example"]
    actions = [item["action"] for item in listed(holub, "audit", "list")]
    assert actions == [
        "account.change",
        "alias.put",
        "import.accounts",
        "account.create",
        "domain.create",
        "tenant.create",
    ]
    assert "the chain is whole" in holub.must("audit", "verify")


def test_a_refusal_is_one_line_that_names_the_field(holub: Holub) -> None:
    for words, text in (
        (("domain", "create", "no domain"), "holub: domain: 'no domain' is not a domain name"),
        (("domain", "delete", DOMAIN), "holub: domain: example.test still has accounts"),
        (("account", "show", "x@y.test"), "holub: address: there is no account x@y.test"),
        (("account", "set", f"alice@{DOMAIN}"), "at least one option"),
    ):
        done = holub.command(*words)
        assert done.returncode != 0
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_a_file_of_accounts_is_checked_then_imported(holub: Holub, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"address,password,name\nbob@{DOMAIN},long enough,Bob\nx,long enough,X\n")

    wrong = holub.command("import", str(file))
    file.write_text(f"address,password,name\nbob@{DOMAIN},long enough,Bob\n")
    dry = holub.must("import", str(file), "--dry-run")
    done = holub.must("import", str(file))

    assert "line 3: address" in wrong.stderr
    assert "1 accounts would be created" in dry
    assert "1 accounts created" in done


def test_a_server_is_asked_with_a_key_and_followed(holub: Holub) -> None:
    """The same commands against a running API, and server-sent events of the trace."""
    key = holub.must("key", "create", "test").strip()
    holub.start("all")
    remote = {"HOLUB_API_URL": f"http://127.0.0.1:{holub.ports['api']}", "HOLUB_API_KEY": key}
    holub.env.update(remote)
    holub.env["HOLUB_DATABASE_URL"] = "sqlite:////nonexistent/x.db"

    assert [item["name"] for item in listed(holub, "domain", "list")] == [DOMAIN]
    request = urllib.request.Request(
        f"{remote['HOLUB_API_URL']}/v1/trace/follow", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as events:
        assert events.readline().startswith(b": following")
        mail_id = holub.send(b"Subject: hi\r\n\r\nx\r\n", f"alice@{DOMAIN}")
        seen: list[str] = []
        end = time.monotonic() + 20
        while "delivered" not in seen and time.monotonic() < end:
            line = events.readline()
            if line.startswith(b"data: "):
                step = json.loads(line.removeprefix(b"data: "))
                assert step["mail_id"] == mail_id
                seen.append(step["what"])
    assert seen[0] == "accepted"
    assert "delivered" in seen
    told = holub.must("trace", f"alice@{DOMAIN}")
    assert "We took responsibility for it" in told
    assert "It is in the mailbox" in told
    assert holub.must("queue", "unaccounted").strip() == "0"
    holub.env["HOLUB_API_KEY"] = "wrong"
    assert "give a valid key" in holub.command("domain", "list").stderr


def test_help_loads_neither_the_server_nor_the_database(holub: Holub) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from services.cli.main import app;"
        "CliRunner().invoke(app, ['--help']);"
        "print([m for m in ('sqlalchemy', 'fastapi', 'rich', 'pydantic') if m in sys.modules])"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], env=holub.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_sieve_script_is_tried_on_a_message_before_it_is_in_force(
    holub: Holub, tmp_path: Path
) -> None:
    script, message = tmp_path / "a.sieve", tmp_path / "m.eml"
    script.write_text(
        'require ["fileinto","envelope"];\n'
        'if envelope "to" "me@a.example" { fileinto "Bills/42"; }\n'
    )
    message.write_bytes(b"Subject: x\r\n\r\nbody\r\n")

    told = holub.must(
        "sieve", "test", str(script), str(message), "--envelope-to", "me@a.example", "--trace"
    )

    assert told.splitlines() == [
        'fileinto "Bills/42"',
        "line 2: envelope is true",
        "line 2: fileinto",
    ]


def test_a_wrong_sieve_script_is_answered_with_its_place(holub: Holub, tmp_path: Path) -> None:
    script, message = tmp_path / "a.sieve", tmp_path / "m.eml"
    script.write_text('keep;\n  fileinto "x";\n')
    message.write_bytes(b"\r\n")

    done = holub.command("sieve", "test", str(script), str(message))

    assert done.returncode == 1
    assert f'{script}:2:3: fileinto needs require "fileinto"' in done.stderr


@pytest.mark.timeout(400)
def test_a_script_is_put_in_force_and_taken_back(holub: Holub, tmp_path: Path) -> None:
    whom, file = f"alice@{DOMAIN}", tmp_path / "main.sieve"
    file.write_text('require "fileinto";\nfileinto "Archive";\n')

    holub.must("sieve", "put", whom, "main", str(file), "--activate")
    (one,) = json.loads(holub.must("sieve", "list", whom, "--json"))
    assert (one["name"], one["active"]) == ("main", True)
    assert holub.must("sieve", "get", whom, "main") == file.read_text()
    wrong = holub.command("sieve", "put", whom, "main", "-", given="if true {")
    assert wrong.returncode == 1
    assert "line 1, column 10" in wrong.stderr
    holub.must("sieve", "deactivate", whom, "main")
    holub.must("sieve", "delete", whom, "main")
    assert json.loads(holub.must("sieve", "list", whom, "--json")) == []


def test_gc_says_what_it_would_do_and_does_it(holub: Holub) -> None:
    """Two days of patience at least, so there is nothing yet that could go."""
    assert json.loads(holub.must("gc", "--dry-run", "--json")) == {"forgotten": 0, "moved": 0}
    assert "0 rows of messages that nothing needs" in holub.must("gc")

    holub.env["HOLUB_STORAGE_GC_GRACE_DAYS"] = "3"
    refused = holub.command("gc")

    assert refused.returncode == 1
    assert "must be more than gc_restore_days" in refused.stderr


@pytest.mark.timeout(400)
def test_keys_that_sign_are_made_shown_rotated_and_never_given_out(
    holub: Holub, tmp_path: Path
) -> None:
    holub.must("domain", "create", "acme.test")
    first = listed(holub, "dkim", "list", "acme.test")
    zone = holub.must("dns", "acme.test", "--form", "zone")
    ours = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    pem = tmp_path / "key.pem"
    pem.write_bytes(ours)
    holub.must("dkim", "rotate", "acme.test", "--selector", "moved", "--key", str(pem))
    holub.must("dkim", "activate", "acme.test", "moved")

    assert [(key["algorithm"], key["state"]) for key in first] == [
        ("rsa-sha256", "new"),
        ("ed25519-sha256", "new"),
    ]
    # One string of a TXT record has 255 octets at most; an RSA key needs more.
    line = next(line for line in zone.splitlines() if line.startswith(str(first[0]["name"])))
    assert len(line.split('"')) == 5
    shown = holub.must("dkim", "list", "acme.test", "--json")
    assert ours.splitlines()[1].decode() not in shown + holub.must("audit", "list")
    assert [key["state"] for key in json.loads(shown)][2] == "signing"
    pem.write_text("no key")
    wrong = holub.command("dkim", "rotate", "acme.test", "--selector", "x", "--key", str(pem))
    assert "private_key: give a PEM file" in wrong.stderr
