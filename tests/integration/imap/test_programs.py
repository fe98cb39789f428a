"""Mail programs that we did not write."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.integration.imap.running import ALICE, PASSWORD, Running, command, message


async def test_curl_reads_a_message(gateway: Running) -> None:
    await gateway.deliver(message(5))
    url = f"imap://127.0.0.1:{gateway.port}/INBOX"

    code, text = await command("curl", "-sS", "--user", f"{ALICE}:{PASSWORD}", f"{url};UID=1")
    trace_code, trace = await command(
        "curl", "-sSv", "--login-options", "AUTH=PLAIN", "--user", f"{ALICE}:{PASSWORD}", url
    )

    assert code == 0, text
    assert text.encode().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") == message(5)
    assert trace_code == 0, trace
    assert re.search(r"> \S+ AUTHENTICATE PLAIN \S+", trace), trace


async def test_curl_appends_and_searches(gateway: Running, tmp_path: Path) -> None:
    (tmp_path / "new.eml").write_bytes(message(9))
    url, user = f"imap://127.0.0.1:{gateway.port}", f"{ALICE}:{PASSWORD}"

    code, text = await command(
        "curl", "-sS", "--user", user, "-T", str(tmp_path / "new.eml"), f"{url}/Drafts"
    )
    _, found = await command("curl", "-sS", "--user", user, f"{url}/Drafts?TEXT%20needle")

    assert code == 0, text
    assert found.strip() == "* SEARCH 1"


async def test_mbsync_synchronises_both_ways(gateway: Running, tmp_path: Path) -> None:
    await gateway.deliver(message(1), message(2))
    maildir = tmp_path / "maildir"
    maildir.mkdir()
    config = tmp_path / "mbsyncrc"
    # An escaped quote is how mbsync reads one.
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    config.write_text(
        f'IMAPAccount a\nHost 127.0.0.1\nPort {gateway.port}\nUser {ALICE}\nPass "{password}"\n'
        "SSLType None\nAuthMechs LOGIN\n\nIMAPStore remote\nAccount a\n\n"
        f"MaildirStore local\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n"
        "Channel c\nFar :remote:\nNear :local:\nPatterns *\nCreate Both\nExpunge Both\n"
        "SyncState *\n"
    )

    code, output = await command("mbsync", "-c", str(config), "-a")
    files = sorted((maildir / "INBOX").glob("*/*:2*")) + sorted((maildir / "INBOX/new").iterdir())
    new = maildir / "INBOX" / "cur" / "1.local.host:2,S"
    new.write_bytes(message(3).replace(b"\r\n", b"\n"))
    second_code, second = await command("mbsync", "-c", str(config), "-a")
    boxes = {box.name: box for box in await gateway.store.mailboxes(gateway.accounts[ALICE])}

    assert code == 0, output
    assert len({path.name for path in files}) == 2, output
    assert second_code == 0, second
    assert boxes["INBOX"].messages == 3
    assert boxes["INBOX"].unseen == 2


async def test_mutt_reads_and_saves_in_batch_mode(gateway: Running, tmp_path: Path) -> None:
    await gateway.deliver(message(1), message(2))
    rc = tmp_path / "muttrc"
    url = f"imap://127.0.0.1:{gateway.port}/"
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    rc.write_text(
        f'set imap_user="{ALICE}"\nset imap_pass="{password}"\nset folder="{url}"\n'
        "set ssl_starttls=no\nset ssl_force_tls=no\nset confirmappend=no\nset delete=yes\n"
        "set quit=yes\nset sleep_time=0\nset timeout=1\n"
        f"set imap_condstore=yes\nset header_cache={tmp_path}/cache\n"
        'push "<delete-pattern>~b 2<enter><sync-mailbox><quit>"\n'
    )
    typescript = tmp_path / "screen"
    mutt = shlex.join(["mutt", "-n", "-F", str(rc), "-f", f"{url}INBOX"])

    code, output = await command(
        "script", "-qec", mutt, str(typescript), TERM="xterm", HOME=str(tmp_path)
    )
    boxes = {box.name: box for box in await gateway.store.mailboxes(gateway.accounts[ALICE])}

    assert code == 0, output
    assert boxes["INBOX"].messages == 1, output
