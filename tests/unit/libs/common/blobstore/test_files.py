"""The file backend: the contract, crashes in mid-write, and damage."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from libs.common.blobstore import record
from libs.common.blobstore.files import FilesBlobStore
from libs.common.blobstore.group_commit import GATHER_SECONDS
from libs.common.blobstore.protocol import BlobError, BlobMissing, BlobRef
from libs.common.blobstore.recovery import recover
from tests.unit.libs.common.blobstore.blobstore_contract import BlobStoreContract, Rewrite

_WRITER = """
import asyncio, os, sys
from libs.common.blobstore.files import FilesBlobStore

async def main():
    store = FilesBlobStore(sys.argv[1])
    async def put(n):
        while True:
            ref = await store.put(b"{}", os.urandom(3000), key=str(n))
            sys.stdout.write(f"{ref.segment} {ref.offset} {ref.length}\\n")
            sys.stdout.flush()
    await asyncio.gather(*(put(n) for n in range(20)))

asyncio.run(main())
"""


class TestFilesBlobStore(BlobStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[FilesBlobStore]:
        store = FilesBlobStore(tmp_path / "blobs")
        yield store
        await store.close()

    @pytest.fixture
    def rewrite(self, tmp_path: Path) -> Rewrite:
        def rewrite(segment: str, change: Callable[[bytes], bytes]) -> None:
            path = tmp_path / "blobs" / segment
            path.write_bytes(change(path.read_bytes()))

        return rewrite


@pytest.mark.parametrize("seed", range(6))
async def test_kill_in_mid_write_loses_nothing_that_was_returned(tmp_path: Path, seed: int) -> None:
    """A torn tail is never served, and every ref that the writer told of is whole."""
    root = tmp_path / "blobs"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(random.Random(seed).uniform(0.05, 0.4))
        writer.send_signal(signal.SIGKILL)
        lines += [line for line in writer.stdout.read().splitlines(True) if line.endswith("\n")]

    store = FilesBlobStore(root)
    refs = [BlobRef(a, int(b), int(c)) for a, b, c in (line.split() for line in lines)]
    for ref in refs:
        assert len((await store.read(ref)).content) == 3000
    listed = set()
    for hour in await store.hours():
        listed |= {entry.ref async for entry in store.index(hour)}
    assert set(refs) <= listed
    for ref in listed:
        await store.read(ref)
    await store.close()


async def test_a_segment_key_never_leads_out_of_the_store(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path / "blobs")
    (tmp_path / "secret").write_bytes(b"s" * 200)

    with pytest.raises(BlobError):
        await store.read(BlobRef("mail/../../secret", 0, 100))
    await store.close()


async def test_a_disk_that_refuses_is_an_error_and_later_puts_work(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path / "blobs")
    (tmp_path / "blobs").write_bytes(b"a file is in the way")

    with pytest.raises(BlobError):
        await store.put(b"{}", b"x", key="k")

    (tmp_path / "blobs").unlink()
    ref = await store.put(b"{}", b"x", key="k")
    assert (await store.read(ref)).content == b"x"
    await store.close()


def _fsyncs() -> float:
    return REGISTRY.get_sample_value("holub_blobstore_fsyncs_total") or 0.0


async def _listed(store: FilesBlobStore) -> list[BlobRef]:
    found = []
    for hour in await store.hours():
        found += [entry.ref async for entry in store.index(hour)]
    return found


async def test_a_hundred_puts_that_wait_together_share_a_few_syncs(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    await store.put(b"{}", b"the segment is there", key="k")
    before = _fsyncs()

    await asyncio.gather(*(store.put(b"{}", b"x", key=str(n)) for n in range(100)))

    assert 1 <= _fsyncs() - before <= 20
    await store.close()


async def test_puts_that_follow_each_other_closely_share_syncs(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    await store.put(b"{}", b"the segment is there", key="k")
    before = _fsyncs()

    async def later(number: int) -> None:
        await asyncio.sleep(number * GATHER_SECONDS / 20)
        await store.put(b"{}", b"x", key=str(number))

    await asyncio.gather(*(later(number) for number in range(200)))

    assert 1 <= _fsyncs() - before <= 60
    await store.close()


_FULL = """
import asyncio, os, resource, sys
from libs.common.blobstore.files import FilesBlobStore
from libs.common.blobstore.protocol import BlobError

async def main():
    store = FilesBlobStore(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    kept, failed, after = [], 0, 0
    for n in range(60):
        content = bytes([n]) * 9000
        try:
            kept.append((content, await store.put(b"{}", content, key=str(n))))
            after += failed > 0
        except BlobError:
            failed += 1
    try:
        await store.put(b"{}", b"z" * 300_000, key="large")
    except BlobError:
        failed += 1
    for content, ref in kept:
        assert (await store.read(ref)).content == content
    listed = [e.ref for h in await store.hours() async for e in store.index(h)]
    assert len(listed) == len(kept), "a ghost"
    assert set(listed) == {ref for _, ref in kept}, "one is missing"
    assert failed >= 4 and after >= 30, (failed, after)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    await store.put(b"{}", b"z" * 300_000, key="large")
    await store.close()

asyncio.run(main())
"""


def test_a_full_disk_fails_the_put_leaves_no_ghost_and_later_puts_work(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes a write fail in its middle, as a full disk does."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "Exception in thread" not in done.stderr


_RAISES = """
import asyncio, pathlib, sys
from libs.common.blobstore.files import FilesBlobStore
from libs.common.blobstore.protocol import BlobError

async def main():
    store = FilesBlobStore(sys.argv[1])
    for name in ("before_write", "before_fsync", "after_fsync"):
        for size in (10, 300_000):
            pathlib.Path(sys.argv[2]).write_text(f"blobstore.{name} raise every\\n")
            try:
                await store.put(b"{}", b"x" * size, key="k")
            except BlobError:
                pass
            else:
                raise AssertionError(name)
            pathlib.Path(sys.argv[2]).write_text("")
            ref = await store.put(b"{}", b"y" * size, key="k")
            assert (await store.read(ref)).content == b"y" * size
    listed = [e.ref for h in await store.hours() async for e in store.index(h)]
    assert len(listed) == 6, listed
    await store.close()

asyncio.run(main())
"""


def test_any_fault_in_the_writing_thread_fails_the_put_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    """Were the thread to end by it, every later put would wait in vain."""
    rules = tmp_path / "failpoints"
    enabled = {"HOLUB_FAILPOINTS": "1", "HOLUB_FAILPOINTS_FILE": str(rules)}

    done = subprocess.run(
        [sys.executable, "-c", _RAISES, str(tmp_path / "blobs"), str(rules)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | enabled,
    )

    assert done.returncode == 0, done.stderr


async def test_a_damaged_header_does_not_hide_the_records_behind_it(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    refs = [await store.put(b"header", b"x" * 100, key=str(n)) for n in range(3)]
    path = tmp_path / refs[1].segment
    raw = bytearray(path.read_bytes())
    raw[refs[1].offset + record.PRELUDE + 100] ^= 1
    path.write_bytes(raw)

    assert await _listed(store) == [refs[0], refs[2]]
    await store.close()


async def test_the_torn_tail_of_a_dead_writer_is_cut_off(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x" * 100, key="k")
    await store.close()
    path = tmp_path / ref.segment
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:90])

    assert recover(tmp_path, time.time()) == 1
    assert path.read_bytes() == whole
    path.write_bytes(whole + bytes(5000))
    assert recover(tmp_path, time.time()) == 1
    assert path.read_bytes() == whole
    assert recover(tmp_path, time.time()) == 0


async def test_recovery_leaves_damage_and_the_living_alone(tmp_path: Path) -> None:
    """What is damaged may still be a message, and a living writer is in the middle of one."""
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x" * 100, key="k")
    path = tmp_path / ref.segment
    torn = path.read_bytes() + b"HREC"
    path.write_bytes(torn)

    assert recover(tmp_path, time.time()) == 0
    await store.close()
    damaged = b"?" + torn[1:]
    path.write_bytes(damaged)
    assert recover(tmp_path, time.time()) == 0
    assert path.read_bytes() == damaged


async def test_what_another_process_deleted_is_missing_and_gives_its_disk_back(
    tmp_path: Path,
) -> None:
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x", key="k")
    await store.read(ref)
    (tmp_path / ref.segment).unlink()

    with pytest.raises(BlobMissing):
        await store.read(ref)
    await store.close()


async def test_the_hour_goes_with_its_last_segment_and_comes_back(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x" * 300_000, key="k")

    await store.delete(ref.segment)

    assert await store.hours() == []
    again = await store.put(b"{}", b"y" * 300_000, key="k")
    assert await _listed(store) == [again]
    await store.close()


async def test_a_put_given_up_before_its_turn_is_never_written(tmp_path: Path) -> None:
    """Its client was told 451 and comes again: written all the same, it would be a copy."""
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"first", key="k")
    with store._group._wake:  # the writing thread has to wait
        late = asyncio.create_task(store.put(b"{}", b"late", key="k"))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late

    last = await store.put(b"{}", b"last", key="k")

    assert await _listed(store) == [ref, last]
    await store.close()


async def test_two_stores_write_the_same_tree_side_by_side(tmp_path: Path) -> None:
    one, two = FilesBlobStore(tmp_path), FilesBlobStore(tmp_path)

    refs = await asyncio.gather(
        *(store.put(b"{}", b"x", key=str(n)) for n in range(50) for store in (one, two))
    )

    assert len(set(refs)) == 100
    assert set(await _listed(one)) == set(refs) == set(await _listed(two))
    await one.close()
    await two.close()


async def test_a_living_writer_holds_the_lock_of_its_segment(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x", key="k")

    with (tmp_path / ref.segment).open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await store.close()
