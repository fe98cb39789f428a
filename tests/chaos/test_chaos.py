"""The short, seeded form of chaos: nothing is lost, and the judge can see when something is."""

from __future__ import annotations

import os

import pytest

from tests.chaos.rounds import BUGS
from tests.chaos.run import Options, run, run_bug
from tests.servers.process import ServerUnavailable

pytestmark = pytest.mark.chaos
_SEED = int(os.environ.get("HOLUB_CHAOS_SEED", "20260601"))


def _skip(error: ServerUnavailable) -> None:
    if os.environ.get("HOLUB_REQUIRE_SERVERS") == "1":
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.mark.timeout(420)
def test_nothing_is_lost_by_crashes_outages_and_deleted_queues() -> None:
    try:
        clean = run(Options(_SEED))
    except ServerUnavailable as error:
        _skip(error)
        return

    assert clean, "see the table above"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", sorted(BUGS))
def test_the_judge_turns_red_on_a_seeded_bug(bug: str) -> None:
    try:
        found = run_bug(bug, Options(_SEED, bug=bug, drain_seconds=30.0))
    except ServerUnavailable as error:
        _skip(error)
        return

    assert found
