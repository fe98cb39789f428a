"""Threads and base subjects, with the examples of RFC 5256 and a few that go wrong."""

from __future__ import annotations

import pytest

from libs.protocols.message.base_subject import base_subject
from libs.protocols.message.thread import (
    Threaded,
    ordered_subject,
    references,
    refs,
    thread_text,
)


def message(
    number: int, name: str = "", *refs: str, subject: str = "", re: bool = False
) -> Threaded:
    return Threaded(number, float(number), name or f"<{number}>", refs, subject, re)


@pytest.mark.parametrize(
    ("subject", "base", "replied"),
    [
        ("hello", "hello", False),
        ("Re: hello", "hello", True),
        ("RE: fw: Fwd: hello (fwd)", "hello", True),
        ("[list] Re: hello", "hello", True),
        ("Re[2]: hello", "hello", True),
        ("[Fwd: Re: hello]", "hello", True),
        ("[list] hello", "hello", False),
        ("[list]", "[list]", False),
        ("  two \t words  ", "two words", False),
        ("hello (fwd)", "hello", True),
        ("Re:", "", True),
        ("Rent: due", "Rent: due", False),
        ("", "", False),
    ],
)
def test_the_base_subject_is_what_is_left_of_a_subject(
    subject: str, base: str, replied: bool
) -> None:
    assert base_subject(subject) == (base, replied)


def test_long_subjects_take_linear_time() -> None:
    base_subject("Re: " * 100_000 + "[" * 100_000)
    base_subject("[Fwd: " * 50_000 + "]" * 50_000)


def test_replies_stand_below_what_they_answer() -> None:
    found = references(
        [message(1), message(2, "", "<1>"), message(3, "", "<1>", "<2>"), message(4, "", "<1>")]
    )

    assert thread_text(found) == b"(1 (2 3)(4))"


def test_a_missing_message_holds_its_replies_together() -> None:
    assert thread_text(references([message(1, "", "<x>"), message(2, "", "<x>")])) == b"((1)(2))"
    assert thread_text(references([message(1, "", "<x>")])) == b"(1)"


def test_roots_with_one_subject_are_one_thread() -> None:
    first = message(1, subject="a")
    reply = message(2, subject="a", re=True)

    assert thread_text(references([first, reply])) == b"(1 2)"
    assert thread_text(references([first, message(2, subject="a")])) == b"((1)(2))"
    assert thread_text(refs([first, reply])) == b"(1)(2)"


def test_three_roots_with_one_subject_are_one_thread() -> None:
    found = references([message(n, subject="a") for n in (1, 2, 3)])

    assert thread_text(found) == b"((1)(2)(3))"


def test_a_circle_of_references_is_broken() -> None:
    found = references([message(1, "<a>", "<b>"), message(2, "<b>", "<a>")])

    assert sorted(thread_text(found).replace(b"(", b" ").replace(b")", b" ").split()) == [
        b"1",
        b"2",
    ]


def test_a_message_id_that_comes_twice_is_two_messages() -> None:
    assert thread_text(references([message(1, "<a>"), message(2, "<a>")])) == b"(1)(2)"


def test_very_deep_threads_need_no_recursion() -> None:
    found = references([message(1), *(message(n, "", f"<{n - 1}>") for n in range(2, 20_001))])

    assert thread_text(found).startswith(b"(1 2 3 ")
    assert len(found) == 1


def test_threads_by_subject_are_flat() -> None:
    found = ordered_subject([message(n, subject="ab"[n % 2]) for n in range(1, 6)])

    assert thread_text(found) == b"(1 (3)(5))(2 4)"


def test_threads_by_refs_are_in_the_order_of_their_newest() -> None:
    found = refs([message(1), message(2), message(3, "", "<1>")])

    assert thread_text(found) == b"(2)(1 3)"
