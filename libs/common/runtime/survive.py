"""Work that is done again and again outlives whatever one round of it meets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def survive(log: Any, event: str, *expected: type[Exception]) -> Iterator[None]:
    """Log a failure of this round and go on: a warning when it is `expected`, else with its stack.

    A routine that ended by an exception nobody thought of would be missed by nobody: the role
    stays ready, and what the routine was there for (the outbox, the sweeper) is off.
    """
    try:
        yield
    except expected as error:
        log.warning(event, error=str(error))
    except Exception:
        log.exception(event)
