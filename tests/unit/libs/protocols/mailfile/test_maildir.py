"""Names in a Maildir."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.mailfile.maildir import FileName, file_name, folder_name, mailbox_name, parse


def test_a_file_name_says_flags_and_uid() -> None:
    keywords = ["old"]
    name = FileName("1.a", ("\\Seen", "\\Flagged", "new", "$Forwarded", "old"), 7, kept=False)

    text = file_name(name, 123, keywords)

    assert text == "1.a,S=123,U=7:2,FPSab"
    assert keywords == ["old", "new"]
    found = parse(text, keywords)
    assert (found.unique, set(found.flags), found.uid, found.kept) == (
        "1.a",
        set(name.flags),
        7,
        False,
    )


def test_there_are_26_keywords() -> None:
    keywords: list[str] = []

    text = file_name(FileName("u", tuple(f"k{n:02}" for n in range(30)), 1, kept=True), 1, keywords)

    assert keywords == [f"k{n:02}" for n in range(26)]
    assert text == "u,kept,S=1,U=1:2,abcdefghijklmnopqrstuvwxyz"
    assert parse(text, keywords).kept
    assert parse(text).flags == ()


def test_a_file_in_new_has_no_flags() -> None:
    assert parse("1234.M5P6.host") == FileName("1234.M5P6.host", (), 0, False)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ((), "INBOX"),
        ((".A.B",), "A/B"),
        (("A", "B"), "A/B"),
        ((".Entw&APw-rfe",), "Entwürfe"),
        (("INBOX", ".Sent"), "INBOX/Sent"),
        (("100%",), "100%"),
    ],
)
def test_folders_of_others_are_read(parts: tuple[str, ...], name: str) -> None:
    assert mailbox_name(parts) == name


LEVEL = st.one_of(
    st.text("%25E.aü&-", min_size=1), st.text(min_size=1).filter(lambda t: t.isprintable())
)


@given(st.lists(LEVEL.filter(lambda t: "/" not in t), min_size=1, max_size=4))
def test_every_mailbox_has_a_folder_of_its_own(levels: list[str]) -> None:
    name = "/".join(levels)
    folder = folder_name(name)

    assert "/" not in folder
    assert mailbox_name((folder,) if folder else ()) == name
