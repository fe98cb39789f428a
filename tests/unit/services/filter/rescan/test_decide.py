"""What a second look changes, and what it leaves to the owner."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from libs.common.jobs import Verdict
from libs.common.jobs.verdict import MALWARE
from libs.common.mailstore.flags import Flag
from services.filter.rescan.decide import BACK, JUNK, QUARANTINED, decide
from services.filter.verdict import Conclusion

FINE = Conclusion(Verdict.ACCEPT, "clamd found nothing")
VIRUS = Conclusion(Verdict.REJECT, f"{MALWARE}: Eicar")
SPAM = Conclusion(Verdict.JUNK, "message looks like spam (rspamd 7.0)")
AWFUL = Conclusion(Verdict.REJECT, "message looks like spam (rspamd 20.0)")


@dataclass(frozen=True)
class Row:
    name: str = "INBOX"
    special_use: str = ""
    flags: int = 0
    keywords: str = ""


IN_JUNK = Row("Junk", "\\Junk")
ARCHIVED = Row("Archive/2026")


def test_malware_is_taken_from_wherever_it_is() -> None:
    rows = [Row(flags=Flag.FLAGGED), IN_JUNK, ARCHIVED]

    step = decide(VIRUS, "accept", "", rows)

    assert step is not None
    assert (step.action, list(step.rows)) == (QUARANTINED, rows)


@pytest.mark.parametrize("verdict", [SPAM, AWFUL])
@pytest.mark.parametrize(
    "row", [ARCHIVED, Row(flags=Flag.FLAGGED), Row(flags=Flag.ANSWERED), Row(keywords="$NotJunk x")]
)
def test_what_is_only_unwanted_stays_where_its_owner_wants_it(
    verdict: Conclusion, row: Row
) -> None:
    assert decide(verdict, "accept", "", [row]) is None


def test_spam_in_the_inbox_goes_to_junk_and_awful_spam_to_quarantine() -> None:
    junk, held = (decide(one, "accept", "", [Row(), IN_JUNK]) for one in (SPAM, AWFUL))

    assert junk is not None
    assert held is not None
    assert (junk.action, junk.rows) == (JUNK, (Row(),))
    assert (held.action, held.rows) == (QUARANTINED, (Row(), IN_JUNK))


@pytest.mark.parametrize("before", [QUARANTINED, "quarantine", "reject"])
@pytest.mark.parametrize("verdict", [VIRUS, AWFUL])
def test_what_somebody_has_let_go_is_not_taken_again(verdict: Conclusion, before: str) -> None:
    assert decide(verdict, before, "", [Row()]) is None


def test_what_its_owner_took_out_of_junk_stays_out() -> None:
    assert decide(SPAM, JUNK, "", [Row()]) is None


def test_what_we_put_into_junk_comes_back_when_nothing_speaks_against_it_any_more() -> None:
    step = decide(FINE, "junk", "message looks like spam (rspamd 7.0)", [IN_JUNK, ARCHIVED])

    assert step is not None
    assert (step.action, step.rows) == (BACK, (IN_JUNK,))


@pytest.mark.parametrize(
    ("before", "why", "row"),
    [
        ("accept", "", IN_JUNK),
        ("back", "", IN_JUNK),
        ("junk", "not authenticated as a.test, whose DMARC policy asks for reject", IN_JUNK),
        ("junk", "the author is unclear: two From fields", IN_JUNK),
        ("junk", "", Row("Junk", "\\Junk", keywords="$Junk")),
        ("junk", "", ARCHIVED),
    ],
)
def test_what_others_put_into_junk_stays_there(before: str, why: str, row: Row) -> None:
    """Its owner did, or its sender's authentication, which only says how it was then."""
    assert decide(FINE, before, why, [row]) is None
