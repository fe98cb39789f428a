"""Postfix as a client: takes mail on a port of its own and hands all of it on, as it is told."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import (
    ServerProcess,
    accepts,
    find_program,
    free_ports,
)

_MAIN = """\
compatibility_level = 3.6
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = client.elsewhere.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
smtpd_peername_lookup = no
smtputf8_enable = yes
smtp_tls_CAfile = {ca}
smtp_tls_security_level = encrypt
lmtp_tls_security_level = none
minimal_backoff_time = 1s
queue_run_delay = 1s
sender_dependent_default_transport_maps = inline:{{ {routes} }}
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n  -  n  -   0  cleanup
qmgr      unix  n  -  n  1   1  qmgr
tlsmgr    unix  -  -  n  1000? 1 tlsmgr
rewrite   unix  -  -  n  -   -  trivial-rewrite
bounce    unix  -  -  n  -   0  bounce
defer     unix  -  -  n  -   0  bounce
trace     unix  -  -  n  -   0  bounce
proxymap  unix  -  -  n  -   -  proxymap
smtp      unix  -  -  n  -   -  smtp
lmtp      unix  -  -  n  -   -  lmtp
error     unix  -  -  n  -   -  error
retry     unix  -  -  n  -   -  error
anvil     unix  -  -  n  -   1  anvil
scache    unix  -  -  n  -   1  scache
postlog   unix-dgram n - n - 1 postlogd
"""


class PostfixClient:
    """Needs root.  `routes`: sender -> `smtp:[127.0.0.1]:PORT` or `lmtp:inet:127.0.0.1:PORT`."""

    def __init__(self, folder: Path, routes: Mapping[str, str], ca: Path) -> None:
        self._folder = folder
        self._routes = routes
        self._ca = ca
        (self.port,) = free_ports(1)
        argv = [find_program("postfix"), "-c", str(folder / "postfix"), "start-fg"]
        self._master = ServerProcess(argv, folder, log="postfix.out")

    def start(self) -> None:
        """Start it, and return when it takes mail."""
        folder = self._folder
        folder.mkdir(mode=0o755)
        for name in ("postfix", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        shutil.copy(self._ca, folder / "ca.pem")
        routes = ", ".join(f"{{ {sender} = {to} }}" for sender, to in self._routes.items())
        (folder / "postfix/main.cf").write_text(
            _MAIN.format(folder=folder, ca=folder / "ca.pem", routes=routes)
        )
        (folder / "postfix/master.cf").write_text(_MASTER.format(port=self.port))
        self._master.launch()
        self._master.wait_until(lambda: accepts(self.port), 30)

    def log(self) -> str:
        """What it says of its deliveries."""
        path = self._folder / "mail.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        """End it."""
        self._master.kill()
