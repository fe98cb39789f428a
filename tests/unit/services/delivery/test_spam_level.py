"""From the field that filter writes to a level for scripts."""

from __future__ import annotations

import pytest

from services.delivery.sieve import spam_level


@pytest.mark.parametrize(
    ("prefix", "level"),
    [
        ("", None),
        ("X-Holub-Unscored: yes\r\n", None),
        ("X-Spam-Status: No, score=-3.2 engine=rspamd tests=A\r\n", 0.0),
        ("X-Spam-Status: No, score=14.0 engine=rspamd tests=A\r\n", 0.4),
        ("A: b\r\nX-Spam-Status: Yes, score=1.0 engine=spamd tests=A\r\n", 0.6),
        ("X-Spam-Status: Yes, score=15.0 engine=spamd tests=A,\r\n B\r\n", 1.0),
        ("Received: X-Spam-Status: Yes, score=15.0\r\n", None),
    ],
)
def test_what_filter_held_to_be_spam_is_above_a_half(prefix: str, level: float | None) -> None:
    assert spam_level(prefix) == level
