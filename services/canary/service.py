"""Canary's wiring: rounds for ever, with their metrics."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

from prometheus_client import Counter, Gauge, Histogram

from libs.common.runtime.health import Health
from libs.common.runtime.log import configure_logging, get_logger
from libs.common.runtime.settings import PlatformSettings
from services.canary.round import Result, make_round
from services.canary.settings import CanarySettings

log = get_logger(__name__)
_ROUNDS = Counter("holub_canary_rounds_total", "Canary messages by how it ended.", ["result"])
_SECONDS = Histogram(
    "holub_canary_seconds",
    "From the 250 of a canary message until it was read by IMAP.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
_DELIVERED_AT = Gauge(
    "holub_canary_delivered_timestamp_seconds", "When a canary message was read last; 0: never."
)


def once() -> int:
    """One round for a person; 0 when the message came through."""
    result, took, why = make_round(CanarySettings.load(), threading.Event())
    print(f"{result}: {f'read after {took:.2f} s' if result is Result.DELIVERED else why}")
    return int(result is not Result.DELIVERED)


async def serve() -> None:
    """Rounds until SIGTERM or Ctrl-C."""
    platform: PlatformSettings = PlatformSettings.load()
    settings: CanarySettings = CanarySettings.load()
    configure_logging(platform.log_level, platform.log_format)
    health, stop, stopping = Health(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = None
    if platform.health_port:
        server = await health.listen(platform.health_host, platform.health_port)
    health.ready("canary", True)
    for result in Result:
        _ROUNDS.labels(result.value)
    try:
        while not stopping.is_set():
            await _round(settings, stop, stopping)
    finally:
        if server:
            server.close()


async def _round(settings: CanarySettings, stop: threading.Event, stopping: asyncio.Event) -> None:
    start = time.monotonic()
    work = asyncio.create_task(asyncio.to_thread(make_round, settings, stop))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set():
        stop.set()
    result, took, why = await work
    _ROUNDS.labels(result.value).inc()
    if result is Result.DELIVERED:
        _SECONDS.observe(took)
        _DELIVERED_AT.set_to_current_time()
    elif result is not Result.STOPPED:
        log.warning("canary", result=result.value, why=why)
    left = settings.every_seconds - (time.monotonic() - start)
    await asyncio.wait({stopped}, timeout=max(left, 0))
    stopped.cancel()
