"""The file backend: the contract, crashes in mid-write, and damage."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.blobstore.files import FilesBlobStore
from libs.common.blobstore.protocol import BlobCorrupt, BlobError, BlobRef
from tests.unit.libs.common.blobstore.blobstore_contract import BlobStoreContract

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


@pytest.mark.parametrize("seed", range(4))
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


async def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    store = FilesBlobStore(tmp_path)
    ref = await store.put(b"{}", b"x" * 1000, key="k")
    path = tmp_path / ref.segment
    raw = bytearray(path.read_bytes())
    raw[500] ^= 1
    path.write_bytes(raw)

    with pytest.raises(BlobCorrupt):
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
