"""SpamAssassin's spamd with its own rules, local tests only, and a Bayes database of its own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.servers.process import Daemon, ServerProcess, ServerUnavailable, find_program, free_ports
from tests.servers.rspamd import GTUBE, JUNK

__all__ = ["GTUBE", "JUNK", "Spamd"]
_RULES = Path("/etc/spamassassin")
_CONFIG = """\
required_score 5.0
use_bayes 1
use_bayes_rules 1
bayes_path {folder}/bayes
bayes_file_mode 0666
bayes_min_ham_num 1
bayes_min_spam_num 1
bayes_auto_learn 0
rawbody TEST_JUNK /{junk}/
score TEST_JUNK 6.0
header TEST_SESSION X-Spam-Relays-Untrusted =~ /ip=192\\.0\\.2\\.66 /
score TEST_SESSION 0.1
"""


class Spamd(Daemon):
    """One daemon, on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        argv = [
            find_program("spamd"),
            *("--local", "--nouser-config", "--allow-tell", "--max-children=2", "-s", "stderr"),
            *("--siteconfigpath", str(folder / "site"), "--listen", f"127.0.0.1:{self.port}"),
        ]
        self.process = ServerProcess(argv, folder, log="spamd.log")

    def launch(self) -> None:
        """Start without waiting."""
        if not _RULES.is_dir():
            raise ServerUnavailable("the package spamassassin is not installed")
        site = self._folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        # Its children run as nobody.
        self._folder.chmod(0o777)
        for plugins in _RULES.glob("*.pre"):
            shutil.copy(plugins, site)
        (site / "local.cf").write_text(_CONFIG.format(folder=self._folder, junk=JUNK.decode()))
        self.process.launch()

    def start(self) -> None:
        """Start, and return when it answers."""
        self.launch()
        self.process.wait_until(self._answers, 90)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as link:
                link.sendall(b"PING SPAMC/1.5\r\n\r\n")
                return b"PONG" in link.recv(100)
        except OSError:
            return False

    @property
    def url(self) -> str:
        """HOLUB_FILTER_SPAMD."""
        return f"tcp://127.0.0.1:{self.port}"
