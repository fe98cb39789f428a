"""Roles that start while a backend is away."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faultproxy import FaultProxy
from tests.servers.holub import ROOT, Holub
from tests.servers.process import free_ports


@pytest.fixture
def holub(tmp_path: Path) -> Iterator[Holub]:
    holub = Holub(tmp_path)
    yield holub
    holub.kill()


def launch(holub: Holub, *roles: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start without waiting; the process and its health port."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "services", *roles],
        env={**holub.env, "HOLUB_HEALTH_PORT": str(port)},
        cwd=ROOT,
        stderr=(holub.folder / "err").open("wb"),
        stdout=(holub.folder / "out").open("wb"),
    )
    holub.processes.append(process)
    return process, port


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(port: int, wanted: tuple[int, str], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while (found := asked(port, "readyz")) != wanted:
        assert process.poll() is None
        assert time.monotonic() < end, found
        time.sleep(0.05)


async def test_a_role_waits_for_the_database_and_goes_on_when_it_is_there(
    holub: Holub, postgres_url: str
) -> None:
    host, port = postgres_url.split("@")[1].split("/")[0].split(":")
    (away,) = free_ports(1)
    holub.env["HOLUB_DATABASE_URL"] = postgres_url.replace(f"{host}:{port}", f"{host}:{away}")

    process, health = await asyncio.to_thread(launch, holub, "storage", "imap")
    await asyncio.to_thread(until, health, (503, "waiting for: database\n"), process)
    assert asked(health, "startupz")[0] == 200
    assert asked(health, "livez")[0] == 200

    proxy = FaultProxy(host, int(port))
    proxy.port = away
    async with proxy:
        await asyncio.to_thread(until, health, (200, "ok\n"), process)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert b"waiting for the database" in (holub.folder / "err").read_bytes()


@pytest.mark.parametrize(
    ("setting", "url", "name"),
    [
        ("HOLUB_DATABASE_URL", "postgresql://holub:holub@127.0.0.1:{}/holub", "database"),
        ("HOLUB_QUEUE_URL", "amqp://guest:guest@127.0.0.1:{}/", "queue"),
        ("HOLUB_BLOB_URL", "s3://KEY:SECRET@127.0.0.1:{}/mail?http=1", "blob store"),
    ],
)
def test_a_role_that_waits_obeys_sigterm_at_once(
    holub: Holub, setting: str, url: str, name: str
) -> None:
    holub.prepare()
    holub.env[setting] = url.format(free_ports(1)[0])

    process, health = launch(holub, "delivery")
    until(health, (503, f"waiting for: {name}\n"), process)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    assert time.monotonic() - start < 10


def test_a_wrong_schema_is_not_waited_for(holub: Holub) -> None:
    process, _ = launch(holub, "delivery")

    assert process.wait(30) == 1
    assert b"run: holub migrate" in (holub.folder / "err").read_bytes()
