"""What a test cannot do without: where it cannot be had the test is skipped, with the reason.

With HOLUB_REQUIRE_SERVERS=1, as in CI, that is a failure: a skip there would be a claim that
nobody has proved.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.servers.process import ServerUnavailable, find_program


def unavailable(why: str) -> NoReturn:
    """End this test: skipped, or failed where everything has to be there."""
    if os.environ.get("HOLUB_REQUIRE_SERVERS") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def needed(name: str) -> str:
    """The path of a program."""
    try:
        return find_program(name)
    except ServerUnavailable as error:
        unavailable(str(error))
