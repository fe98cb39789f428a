"""The generator sends, and what it sent is read back equal.  Nothing here asserts a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.holub import Embedded
from tests.bench.postfix import PostfixDovecot
from tests.bench.readback import compare
from tests.bench.run import Load, Tally, measure
from tests.bench.subject import Subject
from tests.servers.needed import unavailable
from tests.servers.process import ServerUnavailable

pytestmark = pytest.mark.bench
_ACCOUNTS = 3


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because a unix socket's path may have only 107 octets.
    made = Path(tempfile.mkdtemp(prefix="holub-bench-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("make", [PostfixDovecot, Embedded])
@pytest.mark.parametrize("pipelining", [False, True])
def test_what_the_generator_sends_is_read_back_equal(
    make: Callable[[Path, int], Subject], pipelining: bool, folder: Path
) -> None:
    load = Load("4k", 40, connections=4, per_connection=6, accounts=_ACCOUNTS)
    mixed = Load("corpus", 40, connections=4, accounts=_ACCOUNTS, pipelining=pipelining)
    subject, tally = None, Tally()
    try:
        subject = make(folder, _ACCOUNTS)
        subject.start()
        results = [measure(subject, tally, load), measure(subject, tally, mixed)]
        found = compare(subject.imap_port, _ACCOUNTS, tally.digests)
    except ServerUnavailable as error:
        unavailable(str(error))
    finally:
        if subject is not None:
            subject.stop()

    assert found.clean, str(found)
    assert found.equal == 80
    assert all(result.cpu_us > 0 and result.pss > 0 for result in results)


def test_a_changed_a_doubled_and_a_lost_message_are_told_apart() -> None:
    from tests.bench.readback import Comparison, judge
    from tests.bench.workload import Workload

    workload = Workload("4k", 1)
    sent = [workload.message(n) for n in range(4)]
    expected = {m.number: m.sha256() for m in sent}
    seen: set[int] = set()
    result = Comparison()

    for content in (
        b"Received: by mx\r\n" + sent[0].head + sent[0].rest,
        sent[1].head + sent[1].rest.replace(b"Subject", b"subject"),
        sent[2].head + sent[2].rest,
        sent[2].head + sent[2].rest,
        b"Subject: who are you?\r\n\r\n",
    ):
        judge(content, expected, seen, result)

    assert (result.equal, result.altered, result.twice, result.strange) == (2, 1, 1, 1)
    assert expected.keys() - seen == {3}
    assert not result.clean
