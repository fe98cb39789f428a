from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.queue import open_queue

ROOT = Path(__file__).resolve().parents[5]


def test_an_unknown_backend_is_named_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="no backend for 'redis'") as caught:
        open_queue("redis://secret@host")
    assert "secret" not in str(caught.value)


def test_the_embedded_queue_loads_no_rabbitmq_client() -> None:
    program = (
        "import sys, libs.common.queue as q, libs.common.queue.worker, libs.common.queue.sqlite\n"
        "sys.exit(any(name in sys.modules for name in ('aio_pika', 'aiormq', 'pamqp')))"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
