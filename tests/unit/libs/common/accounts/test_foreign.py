"""Hashes that other systems made (by their own tools, not by ours)."""

from __future__ import annotations

import pytest

from libs.common.accounts.credential import hash_password, is_current, is_known_hash
from libs.common.accounts.foreign import is_known, matches

# `openssl passwd`, crypt(3) and `doveadm pw` made these of "correct horse".
MADE = [
    "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp"
    "6dLMG.",
    "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB",
    "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80",
    "abhfCpXqd4GrI",
    "{BLF-CRYPT}$2y$05$507HFsWhU3LtXOhDYFCQweC4nbyOhGAKrwYJU/xkPQM89Wtax.NFy",
    "{SSHA}L5pb+MbFgSqk0mKvduqAvXn7j1bCa0qB",
    "{SSHA256}8WP9sz4smsdeaLInousQF4hydGwuw4QEmehQa6inegwA0PPh",
    "{SSHA512}lAeMdXxFNh2Dc7gz3nN/esp3mCrHZN64Ta3j7Hqfv8WDRPGRhgh/ywEsBIEmVstFmzmcDEyG1eVKcBBmA2rJ"
    "1drPkQY=",
    "{PBKDF2}$1$YzFE1c.YUzDcE37u$5000$53b0e49a8254900b33a35f846f14f598485ca86c",
    "{SHA512-CRYPT}$6$NNln9fPCCKsGrZdI$thQ7Qw.94DcqY7Vf2hZrYcyHMst1bKFaVatk6S53qMDJjEBcp0nYxkPK7eBV"
    "Mx1RZAU20ShHXWhQAq8g0fUV9/",
    "{CRYPT}$2y$05$r2NVDutOgLMwLmycPDVhhuwMYXL0LOdFTgXBvnduHVcxM3ftoQ4ju",
]


@pytest.mark.parametrize("stored", MADE)
def test_the_right_password_matches_and_another_does_not(stored: str) -> None:
    assert is_known_hash(stored)
    assert matches(stored, "correct horse")
    assert not matches(stored, "incorrect horse")
    assert not matches(stored, "")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "correct horse",
        "{PLAIN}correct horse",
        "{SSHA}!!!!",
        "{SSHA}" + "A" * 27 + "=",
        "$2y$31$" + "a" * 53,
        "$6$rounds=999999999$salt$" + "a" * 86,
        "$pbkdf2-sha256$99999999$c2FsdA$" + "a" * 43,
        "{PBKDF2}$1$salt$9999999$" + "a" * 40,
        "$argon2id$nonsense",
    ],
)
def test_what_is_no_hash_or_costs_too_much_matches_nothing(stored: str) -> None:
    assert not matches(stored, "correct horse")
    assert not is_known(stored) or stored.startswith("{SSHA}")


def test_a_bcrypt_password_counts_up_to_72_octets() -> None:
    import bcrypt

    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()

    assert matches(stored, "x" * 100)


def test_only_what_we_make_now_is_current() -> None:
    assert is_current(hash_password("correct horse"))
    assert not any(is_current(stored) for stored in MADE)
    assert not is_current("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43)
