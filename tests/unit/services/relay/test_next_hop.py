from __future__ import annotations

import pytest

from services.relay.next_hop import NextHop, parse_next_hop


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("mx.test", NextHop("mx.test", 25)),
        ("mx.test:2525", NextHop("mx.test", 2525)),
        ("[::1]:26", NextHop("::1", 26)),
        ("[::1]", NextHop("::1", 25)),
        (" ", None),
    ],
)
def test_a_next_hop_is_a_host_and_perhaps_a_port(text: str, hop: NextHop | None) -> None:
    assert parse_next_hop(text) == hop


@pytest.mark.parametrize(
    "text", [":25", "mx.test:x", "mx.test:0", "mx.test:99999", "[::1", "[::1]x"]
)
def test_anything_else_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_next_hop(text)


def test_a_next_hop_is_shown_as_it_is_written() -> None:
    assert str(NextHop("::1", 26)) == "[::1]:26"
    assert str(NextHop("mx.test")) == "mx.test:25"
