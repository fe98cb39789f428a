"""clamd with two signatures of our own: EICAR and a test marker.  No download is needed."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.servers.process import Daemon, ServerProcess, accepts, find_program, free_ports

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
MARKER = b"HOLUB-TEST-VIRUS-MARKER"

_CONFIG = """\
Foreground yes
LocalSocket {folder}/clamd.sock
LocalSocketMode 666
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
LogTime yes
MaxThreads 4
StreamMaxLength 64M
SelfCheck 86400
AlertEncrypted yes
AlertExceedsMax yes
"""


class Clamd(Daemon):
    """One scanner, on a unix socket and on TCP."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        self.socket = folder / "clamd.sock"
        self.process = ServerProcess(
            [find_program("clamd"), "-c", str(folder / "clamd.conf")], folder, log="clamd.log"
        )

    def launch(self) -> None:
        """Start without waiting."""
        signatures = self._folder / "signatures"
        signatures.mkdir(parents=True, exist_ok=True)
        (signatures / "holub.ndb").write_text(
            f"Eicar-Test-Signature:0:*:{EICAR.hex()}\nHolub-Test-Marker:0:*:{MARKER.hex()}\n"
        )
        config = _CONFIG.format(folder=self._folder, port=self.port)
        (self._folder / "clamd.conf").write_text(config)
        self.socket.unlink(missing_ok=True)
        self.process.launch()

    def start(self) -> None:
        """Start, and return when it scans."""
        self.launch()
        self.process.wait_until(lambda: accepts(self.port) and self._answers(), 60)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 2) as link:
            link.sendall(b"zPING\0")
            return link.recv(16) == b"PONG\0"

    @property
    def url(self) -> str:
        """The unix socket, as `unix:///PATH`."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """The TCP listener, as `tcp://127.0.0.1:PORT`."""
        return f"tcp://127.0.0.1:{self.port}"
