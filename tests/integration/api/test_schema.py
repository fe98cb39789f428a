"""schemathesis: whatever it sends, there is no 5xx, and answers are as described."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from libs.common.db import open_database
from tests.integration.api.world import World, open_world
from tests.servers.process import free_ports
from tests.servers.schema import at_head

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@schemathesis.serializer("application/mbox")
def mbox(_: schemathesis.SerializationContext, value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


EXAMPLES = 10
"""Requests for each operation."""


class Served:
    """The application on a port, in a thread with its own loop."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        (self.port,) = free_ports(1)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.world: World
        self.server: uvicorn.Server

    async def _run(self) -> None:
        database = open_database(self.url)
        await at_head(database)
        async with open_world(database, self.folder) as self.world:
            config = uvicorn.Config(self.world.app, port=self.port, log_config=None, lifespan="off")
            self.server = uvicorn.Server(config)
            serving = asyncio.create_task(self.server._serve())
            while not self.server.started:
                await asyncio.sleep(0.01)
            self.ready.set()
            await serving
        await database.close()

    def start(self) -> None:
        self.thread.start()
        assert self.ready.wait(60)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    url = f"sqlite:///{folder}/holub.db"
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.new_database())
    running = Served(folder, url)
    running.start()
    yield running
    running.stop()


def test_no_request_makes_a_fault(served: Served) -> None:
    base = f"http://127.0.0.1:{served.port}"
    loaded = schemathesis.openapi.from_url(f"{base}/openapi.json", wait_for_schema=10)
    headers = {"Authorization": f"Bearer {served.world.root_key}"}
    asked = 0
    # Following the trace never ends by itself.
    for result in loaded.exclude(path="/v1/trace/follow").get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        ask()
        asked += 1
    assert asked > 30
