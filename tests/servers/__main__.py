"""`python -m tests.servers NAME...`: start servers by hand, print their URLs, end on Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.servers.clamd import Clamd
from tests.servers.dns import Dns
from tests.servers.postgres import Postgres
from tests.servers.process import ServerUnavailable
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.rspamd import Rspamd
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.spamd import Spamd

Server = RabbitMQ | Postgres | Clamd | SeaweedFS | Dns
KINDS: dict[str, type[Server]] = {
    "rabbitmq": RabbitMQ,
    "postgres": Postgres,
    "clamd": Clamd,
    "rspamd": Rspamd,
    "spamd": Spamd,
    "seaweedfs": SeaweedFS,
    "dns": Dns,
}


def exports(server: Server) -> dict[str, str]:
    """The settings that point the platform to this server."""
    match server:
        case RabbitMQ():
            return {"HOLUB_QUEUE_URL": server.url(server.new_vhost())}
        case Postgres():
            return {"HOLUB_DATABASE_URL": server.url(server.new_database())}
        case SeaweedFS():
            return {"HOLUB_BLOB_URL": server.url(server.new_bucket())}
        case Clamd():
            return {"HOLUB_FILTER_CLAMD": server.url}
        case Dns():
            return {"HOLUB_DNS_SERVERS": server.servers}


def main(names: list[str]) -> int:
    """Serve until a signal."""
    if not names or not set(names) <= set(KINDS):
        print(f"usage: python -m tests.servers {{{','.join(KINDS)}}}...", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="holub-"))
    folder.chmod(0o755)
    started: list[Server] = []
    try:
        for name in names:
            (folder / name).mkdir()
            server = KINDS[name](folder / name)
            started.append(server)
            server.start()
            for variable, value in exports(server).items():
                print(f"export {variable}='{value}'", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main(sys.argv[1:]))
