"""A RabbitMQ broker of one's own, with its own epmd, cookie and ports."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
from pathlib import Path

from tests.servers.process import (
    ServerProcess,
    ServerUnavailable,
    accepts,
    find_program,
    free_ports,
)

_SCRIPTS = "/usr/lib/rabbitmq/bin"
_VHOSTS_AT_ONCE = 12

_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
log.file = false
log.console = true
log.console.level = warning
"""

# Vhosts are made many at once, because each call of rabbitmqctl takes over a second.
_ADD_VHOSTS = """\
lists:foreach(fun(Name) ->
  rabbit_vhost:add(Name, <<"holub tests">>),
  rabbit_auth_backend_internal:set_permissions(
    <<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"holub tests">>) end, [{names}]).
"""


class RabbitMQ:
    """One broker; `stop` and `start` again keep its data, as a restart does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = find_program("rabbitmq-server", _SCRIPTS)
        self._ctl = find_program("rabbitmqctl", _SCRIPTS)
        self.port, dist, epmd = free_ports(3)
        self._epmd_port = epmd
        self._prepare()
        self.env = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"holub{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+sbwt none +sbwtdcpu none +sbwtdio none"
                " -kernel inet_dist_use_interface {127,0,0,1}"
                # How often the lengths of quorum queues are noted.
                " -rabbit quorum_tick_interval 500"
            ),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._epmd = ServerProcess(
            [find_program("epmd"), "-port", str(epmd), "-address", "127.0.0.1"],
            folder,
            log="epmd.log",
        )
        self.process = ServerProcess([self._script], folder, log="rabbitmq.log", env=self.env)
        self._spare: list[str] = []
        self._numbers = itertools.count(1)

    def _prepare(self) -> None:
        for name in ("mnesia", "log", "generated"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "rabbitmq.conf").write_text(_CONFIG.format(port=self.port))
        (self._folder / "enabled_plugins").write_text("[].\n")
        (self._folder / "rabbitmq-env.conf").write_text("")
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)

    def launch(self) -> None:
        """Start without waiting until it accepts connections."""
        if not self._epmd.running:
            self._epmd.launch()
            self._epmd.wait_until(lambda: accepts(self._epmd_port), 10)
        self.process.launch()

    def wait(self, seconds: float = 90) -> None:
        """Wait until clients can connect."""
        self.process.wait_until(lambda: accepts(self.port) and self._greets(), seconds)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as link:
                link.sendall(b"AMQP\0\0\x09\x01")
                return link.recv(1) == b"\x01"
        except OSError:
            return False

    def start(self) -> None:
        """Start, and return when clients can connect."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """SIGKILL of the broker alone; `start` brings it back with what it had synced."""
        self.process.kill()

    def stop(self) -> None:
        """End the broker and its epmd; the data are for the bin, so it is not asked politely."""
        self.process.kill()
        self._epmd.kill()

    def ctl(self, *arguments: str) -> str:
        """The output of `rabbitmqctl -q ARGUMENTS`."""
        done = subprocess.run(
            [self._ctl, "-q", *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise ServerUnavailable(f"rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}")
        return done.stdout

    def url(self, vhost: str = "%2F") -> str:
        """HOLUB_QUEUE_URL of a vhost."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"

    def new_vhost(self) -> str:
        """The name of a vhost that nobody has used."""
        if not self._spare:
            names = [f"v{next(self._numbers)}" for _ in range(_VHOSTS_AT_ONCE)]
            listed = ", ".join(f'<<"{name}">>' for name in names)
            self.ctl("eval", _ADD_VHOSTS.format(names=listed))
            self._spare = names[::-1]
        return self._spare.pop()

    def queue_lengths(self, vhost: str) -> dict[str, int]:
        """Jobs' messages (ready and unacknowledged) in each queue of a vhost, as of now."""
        lines = self.ctl("list_queues", "-p", vhost, "name", "messages", "--no-table-headers")
        rows = [line.rsplit("\t", 1) for line in lines.splitlines() if "\t" in line]
        return {name: int(count) for name, count in rows if count.isdigit()}
