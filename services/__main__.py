"""Starts roles in one process: `python -m services ROLE…` is `holub run ROLE…`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module

from libs.common.db import Database
from libs.common.runtime.log import configure_logging, get_logger
from libs.common.runtime.settings import PlatformSettings
from libs.common.runtime.telemetry import close_telemetry, configure_telemetry
from services.backends import Backends
from services.listening import port_in_use
from services.platform import Platform, StartError, open_platform

ROLES = ("storage", "delivery", "relay", "filter", "imap", "pop3", "managesieve", "ingress", "api")
"""In the order in which they start: those that take jobs before those that make them."""

log = get_logger(__name__)


def check_roles(names: Sequence[str]) -> tuple[str, ...]:
    """The roles to run; `all` means every role."""
    if "all" in names:
        return ROLES
    if unknown := [name for name in names if name not in ROLES]:
        raise StartError(f"no such role: {', '.join(unknown)}; there are: all, {', '.join(ROLES)}")
    return tuple(dict.fromkeys(names))


@asynccontextmanager
async def running(settings: PlatformSettings, roles: Sequence[str]) -> AsyncIterator[Platform]:
    """The roles at work; leaving the block drains them within `drain_seconds`."""
    configure_telemetry(settings.otlp_endpoint, f"{'+'.join(roles)}-{os.getpid()}")
    async with open_platform(settings) as platform:
        for role in roles:
            platform.health.expect(role)
        server = await _health_listener(platform)
        backends = Backends(platform, _check_schema)
        tasks = [
            asyncio.create_task(_run_role(platform, backends, role), name=role) for role in roles
        ]
        try:
            yield platform
        finally:
            await _drain(platform, tasks)
            await backends.close()
            if server:
                server.close()
            await asyncio.to_thread(close_telemetry)
    _raise_first(tasks)


def _raise_first(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error


async def _health_listener(platform: Platform) -> asyncio.Server | None:
    settings = platform.settings
    if not settings.health_port:
        return None
    try:
        server = await platform.health.listen(settings.health_host, settings.health_port)
    except OSError as error:
        raise port_in_use("HOLUB_HEALTH_PORT", settings.health_port, error) from error
    platform.note("health", f"http://{settings.health_host}:{settings.health_port}/metrics")
    return server


async def _check_schema(database: Database) -> None:
    from libs.common.db.revision import current, fits, head

    revision = await current(database)
    if not fits(revision):
        raise StartError(
            f"the database is at {revision or 'no revision'}, this version needs {head()};"
            " run: holub migrate"
        )


async def _run_role(platform: Platform, backends: Backends, role: str) -> None:
    # A role is imported only when it runs, so the relay never loads FastAPI.
    service = import_module(f"services.{role}.service")
    try:
        if await backends.reached(role):
            await service.run(platform)
    except Exception:
        # One role that cannot go on stops the process: whoever supervises it starts it anew.
        platform.stopping.set()
        raise
    finally:
        platform.ready(role, False)


async def _drain(platform: Platform, tasks: Sequence[asyncio.Task[None]]) -> None:
    platform.stopping.set()
    platform.health.drain()
    _, late = await asyncio.wait(tasks, timeout=platform.settings.drain_seconds)
    for task in late:
        log.warning("role did not drain in time", role=task.get_name())
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def stop_on_signals(platform: Platform) -> None:
    """SIGTERM and Ctrl-C set `stopping`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, platform.stopping.set)


async def serve(settings: PlatformSettings, roles: Sequence[str]) -> None:
    """Run roles until SIGTERM or Ctrl-C."""
    async with running(settings, roles) as platform:
        stop_on_signals(platform)
        await platform.until_ready()
        _settle_memory()
        log.info("running", roles=list(roles))
        await platform.stopping.wait()


def _settle_memory() -> None:
    """What was loaded until now stays: the collector need not walk it again and again.

    Messages make few reference cycles, so young objects are looked at less often than every 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def run_roles(names: Sequence[str]) -> None:
    """Run roles under uvloop until they are told to stop."""
    import uvloop

    roles = check_roles(names)
    settings: PlatformSettings = PlatformSettings.load()
    configure_logging(settings.log_level, settings.log_format)
    uvloop.run(serve(settings, roles))


def main(names: Sequence[str]) -> int:
    """The exit code: 0 after a drain, 1 with one line on standard error otherwise."""
    from services.cli.fault import explain

    try:
        run_roles(names)
    except Exception as error:
        return explain(error)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:] or ["all"]))
