"""`python -m tests.soak [--seconds N] [--clients N] [--seed N]`."""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import re
import tempfile
import threading
import time
from pathlib import Path

from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.soak.client import MAILBOXES, Client, StateError

_MARK = re.compile(rb"^Subject: mark (\w+)", re.MULTILINE)


class Soak:
    """The platform, its clients as threads, and what they found wrong."""

    def __init__(self, folder: Path, clients: int, seed: int) -> None:
        self.holub = Holub(folder, {"HOLUB_IMAP_MAX_BAD": "1"})
        self.holub.prepare("alice")
        self.errors: list[str] = []
        self.delivered: list[str] = []
        self.end = 0.0
        self._chosen = random.Random(seed)
        self._clients: list[Client] = []
        self._count, self._seed = clients, seed

    def run(self, seconds: float) -> None:
        """Start everything, stir for so long, stop."""
        self.holub.start("ingress", "filter", "delivery", "storage")
        gateway = self.holub.start("imap")
        user, port = f"alice@{DOMAIN}", self.holub.ports["imap"]
        self._clients = [Client(port, user, PASSWORD, self._seed + n) for n in range(self._count)]
        self.end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._drive, args=(c,)) for c in self._clients]
        threads.append(threading.Thread(target=self._deliver))
        for thread in threads:
            thread.start()
        while (left := self.end - time.monotonic()) > 0 and not self.errors:
            time.sleep(min(left, self._chosen.uniform(5, 10)))
            if self.end - time.monotonic() > 5:
                gateway.kill()
                gateway.wait()
                gateway = self.holub.start("imap")
        self.end = 0.0
        for thread in threads:
            thread.join(60)

    def _drive(self, client: Client) -> None:
        while time.monotonic() < self.end and not self.errors:
            try:
                client.step()
            except OSError:
                time.sleep(0.2)  # The gateway is being started again.
            except StateError as error:
                self.errors.append(str(error))

    def _deliver(self) -> None:
        number = 0
        while time.monotonic() < self.end and not self.errors:
            number += 1
            content = f"Subject: mark d{number}\r\n\r\nsoak\r\n".encode()
            self.holub.send(content, f"alice@{DOMAIN}")
            self.delivered.append(f"d{number}")
            time.sleep(0.05)

    def judge(self) -> str:
        """No message may be doubled, and none may be gone that nobody expunged."""
        user, port = f"alice@{DOMAIN}", self.holub.ports["imap"]
        last = Client(port, user, PASSWORD, 0)
        last.close()
        expected = {*self.delivered, *(mark for c in self._clients for mark in c.appended)}
        found: collections.Counter[str] = collections.Counter()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = self._marks()
            if expected <= set(found):
                break
            time.sleep(0.5)
        if missing := sorted(expected - set(found)):
            self.errors.append(f"{len(missing)} messages are lost, first {missing[0]}")
        if doubled := [mark for mark, count in found.items() if count > 1]:
            self.errors.append(f"{len(doubled)} messages are doubled, first {doubled[0]}")
        commands = sum(client.commands for client in self._clients)
        return f"{commands} commands, {len(expected)} messages, {len(self.errors)} errors"

    def _marks(self) -> collections.Counter[str]:
        """The marks of all messages, in mailboxes and among those that were expunged."""
        self.holub.command("recoverable", "restore", f"alice@{DOMAIN}", "--hours", "1")
        contents = [c for name in MAILBOXES for c in self.holub.contents("alice", name)]
        return collections.Counter(m[1].decode() for c in contents if (m := _MARK.search(c)))


def main() -> int:
    """The exit code: 0 when nothing was found wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holub-soak-") as name:
        soak = Soak(Path(name), arguments.clients, arguments.seed)
        try:
            soak.run(arguments.seconds)
            print(soak.judge())
        finally:
            with contextlib.suppress(OSError):
                soak.holub.kill()
        for error in soak.errors:
            print(error)
    return int(bool(soak.errors))


if __name__ == "__main__":
    raise SystemExit(main())
