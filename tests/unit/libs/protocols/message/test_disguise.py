from __future__ import annotations

from libs.protocols.message.disguise import FORGED, SHOWN, disguise

FIELD = b"AUTHENTICATION-results: mx; spf=pass\r\n"
CONTENT = FIELD + b"To: you\r\n" + FIELD + b"\r\nAuthentication-Results: text\r\n"
OFFSETS = (0, CONTENT.index(FIELD, 1))


def test_every_range_shows_the_same_octets_and_none_moves() -> None:
    assert len(SHOWN) == len(FORGED)
    whole = disguise(CONTENT, 0, OFFSETS)

    assert whole.count(SHOWN) == 2
    assert FORGED.lower() not in whole[: whole.index(b"\r\n\r\n")].lower()
    assert whole.endswith(b"\r\nAuthentication-Results: text\r\n")
    for start in range(len(CONTENT)):
        for stop in range(start, len(CONTENT) + 1):
            assert disguise(CONTENT[start:stop], start, OFFSETS) == whole[start:stop]


def test_what_has_none_is_not_copied() -> None:
    assert disguise(CONTENT, 0, ()) is CONTENT
    tail = CONTENT[200:]
    assert disguise(tail, 200, OFFSETS) is tail
