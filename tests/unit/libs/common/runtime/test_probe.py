"""The probe that containers run."""

from __future__ import annotations

import asyncio

from libs.common.runtime.health import Health
from libs.common.runtime.probe import probe
from tests.servers.process import free_ports


async def test_the_probe_passes_when_ready_and_fails_while_starting_draining_or_gone() -> None:
    health = Health()
    health.expect("relay")
    (port,) = free_ports(1)
    server = await health.listen("127.0.0.1", port)

    async def ask(path: str) -> bool:
        good, _ = await asyncio.to_thread(probe, path, port)
        return good

    assert not await ask("/readyz")
    health.ready("relay", True)
    assert await ask("/readyz")
    health.drain()
    assert not await ask("/readyz")
    assert await ask("/livez")
    server.close()
    await server.wait_closed()
    assert not await ask("/livez")
