"""Hosts and programs of others that hand us mail: Postfix by SMTP and LMTP, nodemailer."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients.test_smtp_programs import arrived
from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed, unavailable
from tests.servers.postfix import PostfixClient
from tests.servers.process import ServerUnavailable

BODY = b".\r\n..two\r\n" + "ягода\r\n".encode() + b"x" * 900 + b"\r\n"


@pytest.fixture(scope="module")
def postfix(holub: Holub, servers_folder: Path) -> Iterator[PostfixClient]:
    routes = {
        "smtp@client.example": f"smtp:[127.0.0.1]:{holub.ports['smtp']}",
        "lmtp@client.example": f"lmtp:inet:127.0.0.1:{holub.ports['lmtp']}",
    }
    if os.getuid() != 0:
        pytest.skip("Postfix starts only as root")
    client = None
    try:
        client = PostfixClient(servers_folder / "postfix-client", routes, holub.ca)
        client.start()
        yield client
    except ServerUnavailable as error:
        unavailable(str(error))
    finally:
        if client is not None:
            client.stop()


@pytest.mark.parametrize("way", ["smtp", "lmtp"])
def test_postfix_hands_on_what_it_was_given(holub: Holub, postfix: PostfixClient, way: str) -> None:
    """Small and large, and for each recipient by itself: one is taken, one is not known."""
    sizes = [1, 1, 1, 400]
    with smtplib.SMTP("127.0.0.1", postfix.port) as client:
        for size in sizes:
            content = f"Subject: postfix {way}\r\n\r\n".encode() + BODY * size
            client.sendmail(
                f"{way}@client.example",
                [f"ivan@{DOMAIN}", f"nobody-{way}@{DOMAIN}"],
                content,
                mail_options=["BODY=8BITMIME"],
            )

    end = time.monotonic() + 60
    while len(found := arrived(holub, "ivan", f"postfix {way}")) < len(sizes):
        assert time.monotonic() < end, postfix.log()
        time.sleep(0.2)
    bodies = sorted(len(text.partition(b"\r\n\r\n")[2]) for text in found)
    assert bodies == sorted(len(BODY * size) for size in sizes)
    assert all(text.endswith(BODY) for text in found)
    refused = [line for line in postfix.log().splitlines() if f"nobody-{way}@" in line]
    assert any("status=bounced" in line and "550 5.1.1" in line for line in refused)


_NODEMAILER = """
module.paths.push("/usr/share/nodejs", "/usr/lib/node_modules");
const nodemailer = require("nodemailer");
const given = JSON.parse(require("fs").readFileSync(0));
(async () => {
  const transport = nodemailer.createTransport({...given.transport, pool: true, maxConnections: 2});
  await transport.verify();
  const sent = await Promise.all(given.mails.map(mail => transport.sendMail(mail)));
  console.log(JSON.stringify(sent.map(one => one.response)));
  transport.close();
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.mark.parametrize(("listener", "secure"), [("submission", False), ("submissions", True)])
def test_nodemailer_submits_through_a_pool(holub: Holub, listener: str, secure: bool) -> None:
    node, subject = needed("node"), f"nodemailer {listener}"
    transport = {
        "host": "localhost",
        "port": holub.ports[listener],
        "secure": secure,
        "requireTLS": True,
        "tls": {"ca": holub.ca.read_text()},
        "auth": {"user": f"bob@{DOMAIN}", "pass": PASSWORD},
    }
    mail = {
        "from": f"Bob <bob@{DOMAIN}>",
        "to": f"ivan@{DOMAIN}",
        "subject": subject,
        "text": ".\nягода\n",
        "attachments": [{"filename": "a.bin", "content": "x" * 300_000}],
        "dsn": {
            "id": "a+b",
            "return": "headers",
            "notify": "failure",
            "recipient": f"bob@{DOMAIN}",
        },
    }

    done = subprocess.run(
        [node, "-e", _NODEMAILER],
        input=json.dumps({"transport": transport, "mails": [mail] * 5}),
        capture_output=True,
        text=True,
        timeout=90,
    )

    if "Cannot find module 'nodemailer'" in done.stderr:
        unavailable("nodemailer is not installed (Debian: node-nodemailer)")
    assert done.returncode == 0, done.stderr
    assert [reply[:10] for reply in json.loads(done.stdout)] == ["250 2.0.0 "] * 5
    end = time.monotonic() + 60
    while len(found := arrived(holub, "ivan", subject)) < 5:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert all(len(text) > 400_000 for text in found)
