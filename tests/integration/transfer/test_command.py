"""`holub import` and `holub export` of mail, as an operator types them."""

from __future__ import annotations

import json
import mailbox
from pathlib import Path

import pytest

from services.cli.transfer import target_of
from services.platform import StartError
from tests.servers.holub import DOMAIN, Holub


@pytest.fixture
def holub(tmp_path: Path) -> Holub:
    made = Holub(tmp_path)
    made.prepare("alice", "bob")
    return made


def test_mail_goes_in_and_out_by_the_command_line(holub: Holub, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "Old mail.mbox")
    for number in range(3):
        box.add(f"Subject: {number}\n\nhello\n")
    box.close()

    words = ("import", str(tmp_path / "Old mail.mbox"), f"alice@{DOMAIN}")
    first = json.loads(holub.must(*words, "--json"))
    second = holub.must(*words)
    out = holub.must("export", f"alice@{DOMAIN}", str(tmp_path / "out"), "--mailbox", "Old mail")
    back = json.loads(holub.must("import", str(tmp_path / "out"), f"bob@{DOMAIN}", "--json"))

    assert (first["messages"], first["known"], first["problems"]) == (3, 0, [])
    assert second.startswith("0 messages of 1 mailboxes imported")
    assert "3 were there already" in second
    assert out.startswith("3 messages of 1 mailboxes exported")
    assert back["messages"] == 3
    assert len(mailbox.Maildir(tmp_path / "out", create=False).get_folder("Old mail")) == 3


def test_what_cannot_be_done_is_said_in_a_line(holub: Holub, tmp_path: Path) -> None:
    (tmp_path / "x.mbox").write_text("Subject: x\n\n")

    nobody = holub.command("import", str(tmp_path / "x.mbox"), f"nobody@{DOMAIN}")
    no_mbox = holub.command("import", str(tmp_path / "x.mbox"), f"alice@{DOMAIN}")

    assert (nobody.returncode, no_mbox.returncode) == (1, 1)
    assert nobody.stderr == f"holub: address: there is no account nobody@{DOMAIN}\n"
    assert no_mbox.stderr.startswith("holub: x: this is no mbox file")


def test_a_form_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="maildir, mboxrd or mboxo"):
        target_of(str(tmp_path), "zip")
