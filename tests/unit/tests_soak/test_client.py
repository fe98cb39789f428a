"""The soak's client finds what cannot be: the judge can fail."""

from __future__ import annotations

import pytest

from tests.soak.client import Client, StateError


@pytest.fixture
def client() -> Client:
    client = Client.__new__(Client)
    client._uids = [5, None, 9]
    return client


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("NOOP", b"* 2 EXISTS\r\n"),
        ("NOOP", b"* 4 EXPUNGE\r\n"),
        ("FETCH 1 UID", b"* 1 EXPUNGE\r\n"),
        ("NOOP", b"* 4 FETCH (UID 12)\r\n"),
        ("NOOP", b"* 1 FETCH (UID 6)\r\n"),
        ("NOOP", b"* 2 FETCH (UID 9)\r\n"),
    ],
)
def test_what_does_not_fit_is_a_state_error(client: Client, command: str, line: bytes) -> None:
    with pytest.raises(StateError):
        client._hear(command, line)


def test_what_fits_is_taken_into_the_picture(client: Client) -> None:
    for line in (b"* 1 EXPUNGE\r\n", b"* 3 EXISTS\r\n", b"* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n"):
        client._hear("NOOP", line)

    assert client._uids == [7, 9, None]
