"""`python -m tests.chaos`: prove that nothing is lost, or that the judge can see that it is.

--short       under five minutes; the default is long
--seed N      the same faults and messages again
--round NAME  one round only
--bug NAME    with a seeded bug: succeeds when the judge turns red
--bugs        all seeded bugs, one after the other
--keep        keep the folder with ledgers, logs and stores
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from tests.chaos.rounds import BUGS, ROUNDS
from tests.chaos.run import Options, run, run_bug
from tests.servers.process import ServerUnavailable


def main() -> int:
    """0 when all is as it must be, 1 when not, 3 when servers are missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--round", default="", choices=[item.name for item in ROUNDS])
    parser.add_argument("--bug", default="", choices=sorted(BUGS))
    parser.add_argument("--bugs", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--rate", type=float, default=25.0, help="messages sent per second")
    chosen = parser.parse_args()
    options = Options(chosen.seed, chosen.short, "", chosen.rate)
    try:
        if chosen.bug or chosen.bugs:
            names = sorted(BUGS) if chosen.bugs else [chosen.bug]
            short = replace(options, short=True, drain_seconds=30.0)
            found = [run_bug(name, replace(short, bug=name), keep=chosen.keep) for name in names]
            return 0 if all(found) else 1
        return 0 if run(options, keep=chosen.keep, only=chosen.round) else 1
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
