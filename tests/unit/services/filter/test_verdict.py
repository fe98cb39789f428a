from __future__ import annotations

import pytest

from libs.common.jobs import Verdict
from services.filter.clamd import Scan
from services.filter.verdict import MARK, of_scan, of_unscanned


def test_a_virus_is_rejected_by_its_name() -> None:
    conclusion = of_scan(Scan(found="Eicar-Test-Signature"), "tempfail")

    assert conclusion.verdict is Verdict.REJECT
    assert "Eicar-Test-Signature" in conclusion.text


def test_a_signature_cannot_put_lines_into_a_reply() -> None:
    text = of_scan(Scan(found="Evil\r\n250 OK" + "x" * 500), "tempfail").text

    assert text.isprintable()
    assert len(text) < 200


@pytest.mark.parametrize("policy", ["tempfail", "hold"])
def test_too_large_is_not_clean(policy: str) -> None:
    assert of_scan(Scan(too_large=True), policy).verdict is Verdict.QUARANTINE


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Heuristics.Limits.Exceeded.MaxRecursion", "limits"),
        ("Heuristics.Encrypted.Zip", "encrypted"),
    ],
)
def test_what_could_not_be_looked_into_is_no_malware_and_not_clean(name: str, word: str) -> None:
    held = of_scan(Scan(found=name), "tempfail")
    marked = of_scan(Scan(found=name), "accept-and-mark")

    assert held.verdict is Verdict.QUARANTINE
    assert word in held.text
    assert name in held.text
    assert "malware" not in held.text
    assert (marked.verdict, marked.prefix) == (Verdict.ACCEPT, MARK)


def test_what_is_accepted_unscanned_says_so() -> None:
    conclusion = of_unscanned("no scanner", "accept-and-mark")

    assert (conclusion.verdict, conclusion.prefix) == (Verdict.ACCEPT, MARK)


def test_clean_adds_nothing() -> None:
    conclusion = of_scan(Scan(), "tempfail")

    assert (conclusion.verdict, conclusion.prefix) == (Verdict.ACCEPT, "")
