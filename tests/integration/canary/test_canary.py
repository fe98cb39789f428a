"""`holub canary` against the platform in one process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holub import DOMAIN, PASSWORD, ROOT, Holub
from tests.servers.process import free_ports


@pytest.fixture(scope="module")
def holub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holub]:
    folder: Path = tmp_path_factory.mktemp("canary")
    holub = Holub(folder)
    holub.env |= {
        "HOLUB_CANARY_ADDRESS": f"canary@{DOMAIN}",
        "HOLUB_CANARY_PASSWORD": PASSWORD,
        "HOLUB_CANARY_SMTP_HOST": "localhost",
        "HOLUB_CANARY_SMTP_PORT": str(holub.ports["submission"]),
        "HOLUB_CANARY_IMAP_HOST": "localhost",
        "HOLUB_CANARY_IMAP_PORT": str(holub.ports["imap"]),
        "HOLUB_CANARY_AUTHORITIES": str(holub.ca),
    }
    holub.prepare("canary")
    holub.start("all")
    yield holub
    holub.kill()


def test_a_round_sends_reads_and_leaves_nothing(holub: Holub) -> None:
    assert holub.must("canary", "--once").startswith("delivered: read after ")
    assert holub.count("canary") == 0


@pytest.mark.parametrize(
    ("changed", "result"),
    [
        ({"HOLUB_CANARY_PASSWORD": "wrong"}, "refused: submission: "),
        ({"HOLUB_CANARY_AUTHORITIES": ""}, "refused: submission: "),
        ({"HOLUB_CANARY_IMAP_PORT": "1"}, "unreadable: IMAP: "),
        ({"HOLUB_CANARY_ARRIVAL_SECONDS": "0.001"}, "late: not there after "),
    ],
)
def test_what_fails_is_named(holub: Holub, changed: dict[str, str], result: str) -> None:
    before, holub.env = holub.env, {**holub.env, **changed}
    try:
        done = holub.command("canary", "--once")
    finally:
        holub.env = before

    assert done.returncode == 1
    assert done.stdout.startswith(result), done.stdout
    assert holub.command("canary", "--once").returncode == 0
    assert holub.count("canary") == 0


def test_rounds_are_counted_until_sigterm(holub: Holub) -> None:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", "canary"],
        env={**holub.env, "HOLUB_HEALTH_PORT": str(port), "HOLUB_CANARY_EVERY_SECONDS": "1"},
        cwd=ROOT,
    )
    try:
        end = time.monotonic() + 40
        while _delivered(port) < 2:
            assert time.monotonic() < end
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()


def _delivered(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except OSError:
        return 0
    found = re.search(r'holub_canary_rounds_total\{result="delivered"\} ([\d.]+)', text)
    stamp = re.search(r"holub_canary_delivered_timestamp_seconds ([\d.e+]+)", text)
    assert found
    assert stamp
    if float(found[1]):
        assert abs(float(stamp[1]) - time.time()) < 30
    return float(found[1])
