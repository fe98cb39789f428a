"""The peer: Postfix hands to Dovecot by LMTP, Dovecot keeps Maildirs.

Everything is private: folders, queue, sockets, ports.  Postfix needs root to start, so without root
there is no peer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench.dovecot import dovecot_config
from tests.bench.subject import DOMAIN, PASSWORD
from tests.servers.process import (
    ServerProcess,
    ServerUnavailable,
    accepts,
    find_program,
    free_ports,
)

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.bench.example
mydomain = bench.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
biff = no
# The default of 1 s slows the client down whenever input outruns delivery.
in_flow_delay = 0
message_size_limit = 52428800
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_auth_destination, reject
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = hash:{folder}/accounts
virtual_transport = lmtp:unix:{folder}/run/lmtp
"""
# Debian's services, none in a chroot.
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n  -  n  60  1  pickup
cleanup   unix  n  -  n  -   0  cleanup
qmgr      unix  n  -  n  300 1  qmgr
tlsmgr    unix  -  -  n  1000? 1 tlsmgr
rewrite   unix  -  -  n  -   -  trivial-rewrite
bounce    unix  -  -  n  -   0  bounce
defer     unix  -  -  n  -   0  bounce
trace     unix  -  -  n  -   0  bounce
verify    unix  -  -  n  -   1  verify
flush     unix  n  -  n  1000? 0 flush
proxymap  unix  -  -  n  -   -  proxymap
proxywrite unix -  -  n  -   1  proxymap
smtp      unix  -  -  n  -   -  smtp
error     unix  -  -  n  -   -  error
retry     unix  -  -  n  -   -  error
discard   unix  -  -  n  -   -  discard
lmtp      unix  -  -  n  -   -  lmtp
anvil     unix  -  -  n  -   1  anvil
scache    unix  -  -  n  -   1  scache
"""
_LMTP = """\
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
"""


class PostfixDovecot:
    """Both servers; a message is stored when its file is in a Maildir's `new`."""

    name = "postfix+dovecot"

    def __init__(self, folder: Path, accounts: int) -> None:
        if os.getuid() != 0:
            raise ServerUnavailable("Postfix starts only as root")
        self._folder = folder
        self._accounts = accounts
        self.smtp_port, self.imap_port = free_ports(2)
        self._postfix = find_program("postfix")
        self._config = folder / "postfix"
        dovecot = [find_program("dovecot"), "-F", "-c", str(folder / "dovecot.conf")]
        self._dovecot = ServerProcess(dovecot, folder, log="dovecot.out")
        self._master = ServerProcess(
            [self._postfix, "-c", str(self._config), "start-fg"], folder, log="postfix.out"
        )

    def start(self) -> None:
        """Start both; Dovecot first, for Postfix hands to it."""
        self._write()
        self._dovecot.launch()
        self._dovecot.wait_until(lambda: accepts(self.imap_port), 30)
        self._master.launch()
        self._master.wait_until(lambda: accepts(self.smtp_port), 30)

    def _write(self) -> None:
        folder = self._folder
        folder.chmod(0o755)
        for name in ("postfix", "queue", "data", "mail", "run", "state"):
            (folder / name).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", "mail", "mail")
        (self._config / "main.cf").write_text(_MAIN.format(folder=folder, domain=DOMAIN))
        (self._config / "master.cf").write_text(_MASTER.format(port=self.smtp_port))
        names = [f"bench{n + 1}@{DOMAIN} {n + 1}\n" for n in range(self._accounts)]
        (folder / "accounts").write_text("".join(names))
        postmap = [find_program("postmap"), "-c", str(self._config), f"hash:{folder}/accounts"]
        subprocess.run(postmap, check=True)
        shared = dovecot_config(folder, self.imap_port, PASSWORD, "imap lmtp")
        (folder / "dovecot.conf").write_text(shared + _LMTP)

    def stop(self) -> None:
        """`postfix stop`, then Dovecot by its pid."""
        if self._master.running:
            command = [self._postfix, "-c", str(self._config), "stop"]
            subprocess.run(command, capture_output=True, check=False)
        self._master.kill()
        self._dovecot.kill()

    def roots(self) -> dict[str, int]:
        """Two families."""
        return {"postfix": self._master.pid, "dovecot": self._dovecot.pid}

    def stored(self) -> int:
        """Files in all `new` folders."""
        return sum(_files(self._folder / "mail" / f"bench{n + 1}") for n in range(self._accounts))

    def durability(self) -> list[str]:
        """As the programs themselves print them."""
        postconf = [find_program("postconf"), "-c", str(self._config)]
        names = ("mail_version", "in_flow_delay", "default_process_limit")
        dovecot = [find_program("doveconf"), "-c", str(self._folder / "dovecot.conf")]
        lines = [
            *_output(postconf + list(names)),
            *_output([*dovecot, "mail_fsync", "maildir_copy_with_hardlinks"]),
            "dovecot " + " ".join(_output([find_program("dovecot"), "--version"])),
        ]
        return [
            *lines,
            "Postfix: queue file fsynced before the 250; Dovecot: message file fsynced before"
            " Postfix removes it",
        ]


def _files(maildir: Path) -> int:
    try:
        with os.scandir(maildir / "new") as entries:
            return sum(1 for _ in entries)
    except FileNotFoundError:
        return 0


def _output(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines() or [f"{command[0]}: {done.stderr.strip()}"]
