from __future__ import annotations

import pytest

from libs.common.jobs import Envelope, RecordHeader
from services.relay.signing import candidates


def names(head: bytes, path: str = "") -> list[str]:
    header = RecordHeader(mail_id="m", received_at=0, envelope=Envelope(path, ()))
    return candidates(header, head)


def test_the_authors_domain_comes_first_then_those_above_it() -> None:
    found = names(b"From: a@news.shop.example.org\r\n\r\n", "b@example.net")

    assert found == ["news.shop.example.org", "shop.example.org", "example.org", "example.net"]


@pytest.mark.parametrize(
    "head",
    [
        b"Subject: no author\r\n\r\n",
        b"From: a@one.test\r\nFrom: b@two.test\r\n\r\n",
        b"From: a@one.test, b@two.test\r\n\r\n",
        b"From: a@b..c\r\n\r\n",
    ],
)
def test_an_author_that_could_be_read_in_two_ways_is_none(head: bytes) -> None:
    assert names(head, "b@example.net") == ["example.net"]


def test_a_domain_in_unicode_is_looked_up_in_ascii() -> None:
    assert names("From: a@b\u00fccher.example\r\n\r\n".encode()) == ["xn--bcher-kva.example"]


def test_nobody_is_nobody() -> None:
    assert names(b"\r\n") == []
