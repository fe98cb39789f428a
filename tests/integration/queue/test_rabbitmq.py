from __future__ import annotations

import pytest

from tests.unit.libs.common.queue.queue_contract import QueueContract


class TestRabbitQueue(QueueContract):
    @pytest.fixture
    def queue_url(self, rabbitmq_url: str) -> str:
        return rabbitmq_url
