from __future__ import annotations

import pytest

from libs.common.runtime.sealer import SealBroken, Sealer

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_was_sealed_opens_for_the_same_use_only() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(b"private", "key a")

    assert b"private" not in sealed
    assert sealer.open(sealed, "key a") == b"private"
    with pytest.raises(SealBroken, match="belongs to something else"):
        sealer.open(sealed, "key b")


def test_a_new_secret_in_front_opens_what_the_old_one_sealed() -> None:
    sealed = Sealer([OLD]).seal(b"private", "key")

    assert Sealer([NEW, OLD]).open(sealed, "key") == b"private"
    with pytest.raises(SealBroken, match="HOLUB_SECRET"):
        Sealer([NEW]).open(sealed, "key")


def test_the_first_secret_is_the_one_that_seals() -> None:
    assert Sealer([NEW]).open(Sealer([NEW, OLD]).seal(b"x", "key"), "key") == b"x"


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_changed_octet_is_noticed(at: int) -> None:
    sealer = Sealer([OLD])
    sealed = bytearray(sealer.seal(b"private", "key"))
    sealed[at] ^= 1

    with pytest.raises(SealBroken):
        sealer.open(bytes(sealed), "key")
    with pytest.raises(SealBroken):
        sealer.open(bytes(sealed[:8]), "key")
