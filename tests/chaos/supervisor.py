"""Runs the roles as processes, one for each, and starts again what dies.

Every death is written down with its cause: a failpoint, or the nemesis.  Readiness is what
/readyz of the process says; nothing is read out of logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerProcess, free_ports

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Death:
    """One end of a process that nobody asked to stop."""

    role: str
    at: float
    cause: str


@dataclass(slots=True)
class Member:
    """One process of the platform."""

    name: str
    """`ingress`, or `ingress-2` for a second one."""
    role: str
    process: ServerProcess
    health_port: int
    wanted: bool = True
    """False while it is down on purpose."""
    cause: str = ""
    """Why it is about to die, when the nemesis knows."""
    starts: int = 0


class NotReady(Exception):
    """Roles that do not become ready, with the tails of their logs."""


class Supervisor:
    """The platform, as processes."""

    def __init__(self, folder: Path, environment: Mapping[str, str], seed: int) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._rng = random.Random(f"{seed}/supervisor")
        self._task: asyncio.Task[None] | None = None
        self.armed = ""
        """The failpoints that may kill now: the cause of a SIGKILL that we did not send."""
        self.members: dict[str, Member] = {}
        self.deaths: list[Death] = []

    def add(
        self,
        name: str,
        extra: Mapping[str, str],
        *,
        argv: Sequence[str] = (),
        roles: Sequence[str] = (),
    ) -> None:
        """A member `ROLE` or `ROLE-N`, or one of several roles, with settings of its own."""
        role = name.partition("-")[0]
        (health,) = free_ports(1)
        environment = {
            **self._environment,
            "HOLUB_HEALTH_HOST": "127.0.0.1",
            "HOLUB_HEALTH_PORT": str(health),
            **extra,
        }
        command = list(argv) or [str(Path(sys.executable).parent / "holub")]
        process = ServerProcess(
            [*command, "run", *(roles or [role])],
            ROOT,
            log=str(self._folder / f"{name}.log"),
            env=environment,
        )
        self.members[name] = Member(name, role, process, health)

    async def start(self, seconds: float = 60) -> None:
        """Start all members, and return when all are ready."""
        self._task = asyncio.create_task(self._watch())
        for member in self.members.values():
            self._launch(member)
        await self.ready(seconds)

    def _launch(self, member: Member) -> None:
        if self._task is None:
            return
        member.wanted = True
        member.starts += 1
        member.process.launch()

    async def _watch(self) -> None:
        """Start again what died, after a moment that is different each time."""
        while True:
            await asyncio.sleep(0.05)
            for member in self.members.values():
                if member.wanted and not member.process.running:
                    self._died(member)

    def _died(self, member: Member) -> None:
        status = member.process.status
        armed = f"failpoint {self.armed}" if self.armed and status == "SIGKILL" else ""
        cause = member.cause or armed or f"by itself ({status})"
        self.deaths.append(Death(member.role, time.time(), cause))
        member.cause = ""
        member.wanted = False
        loop = asyncio.get_running_loop()
        loop.call_later(self._rng.uniform(0.1, 1.0), self._launch, member)

    async def ready(self, seconds: float = 60) -> None:
        """Wait until every member is ready; `NotReady` says which is not."""
        deadline = time.monotonic() + seconds
        while waiting := [m for m in self.members.values() if not await self._is_ready(m)]:
            if time.monotonic() > deadline:
                tails = [f"--- {m.name}:\n{m.process.tail()}" for m in waiting]
                raise NotReady(f"not ready after {seconds:.0f} s\n" + "\n".join(tails))
            await asyncio.sleep(0.2)

    async def _is_ready(self, member: Member) -> bool:
        return member.process.running and await asyncio.to_thread(_readyz, member.health_port)

    def kill(self, name: str, why: str) -> None:
        """SIGKILL; it is started again by itself."""
        member = self.members[name]
        if member.process.running:
            member.cause = why
            member.process.send(signal.SIGKILL)

    async def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP for some time."""
        member = self.members[name]
        member.process.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        member.process.send(signal.SIGCONT)

    async def away(self, name: str, seconds: float) -> None:
        """SIGKILL, and nothing in its place for some time."""
        member = self.members[name]
        member.wanted = False
        member.process.kill()
        self.deaths.append(Death(member.role, time.time(), "nemesis"))
        await asyncio.sleep(seconds)
        self._launch(member)

    def kill_all(self) -> None:
        """SIGKILL of all at the same time, and nothing is started again: the power is off."""
        self._stop_watching()
        for member in self.members.values():
            member.wanted = False
            member.process.send(signal.SIGKILL)
        for member in self.members.values():
            member.process.kill()
            self.deaths.append(Death(member.role, time.time(), "power"))

    async def stop(self, seconds: float = 20) -> list[str]:
        """SIGTERM to all; the names of those that had to be killed after `seconds`."""
        self._stop_watching()
        for member in self.members.values():
            member.wanted = False
            member.process.send(signal.SIGCONT)
            member.process.send(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(m.process.running for m in self.members.values()):
            await asyncio.sleep(0.1)
        late = [m.name for m in self.members.values() if m.process.running]
        for member in self.members.values():
            member.process.kill()
        return late

    def _stop_watching(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None


def _readyz(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
