"""The short, seeded form of chaos: nothing is lost, and the judge can see when something is."""

from __future__ import annotations

import os

import pytest

from tests.chaos.rounds import BUGS
from tests.chaos.run import Options, run, run_bug
from tests.servers.needed import unavailable
from tests.servers.process import ServerUnavailable

pytestmark = pytest.mark.chaos
_SEED = int(os.environ.get("HOLUB_CHAOS_SEED", "20260601"))


@pytest.mark.timeout(420)
def test_nothing_is_lost_by_crashes_outages_and_deleted_queues() -> None:
    try:
        clean = run(Options(_SEED))
    except ServerUnavailable as error:
        unavailable(str(error))

    assert clean, "see the table above"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", sorted(BUGS))
def test_the_judge_turns_red_on_a_seeded_bug(bug: str) -> None:
    try:
        found = run_bug(bug, Options(_SEED, bug=bug, drain_seconds=30.0))
    except ServerUnavailable as error:
        unavailable(str(error))

    assert found
