"""Content while it streams in."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from libs.common.blobstore import spool as spools
from libs.common.blobstore.spool import IN_MEMORY, LARGE_IN_MEMORY, LENDABLE, SpoolFile


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, LARGE_IN_MEMORY])
async def test_small_content_is_given_back_as_bytes(tmp_path: Path, size: int) -> None:
    spool, content = SpoolFile(str(tmp_path)), os.urandom(size)

    await spool.write(content[:10])
    await spool.write(content[10:])

    assert await spool.finish() == content
    assert spool.size == size
    spool.close()


@pytest.mark.parametrize("size", [LARGE_IN_MEMORY + 1, 3_500_000])
async def test_large_content_is_a_file_that_knows_its_size_and_hash(
    tmp_path: Path, size: int
) -> None:
    spool, content = SpoolFile(str(tmp_path)), os.urandom(size)
    for start in range(0, size, 65536):
        await spool.write(content[start : start + 65536])

    finished = await spool.finish()

    assert finished is spool
    assert spool.size == size
    assert spool.sha256 == hashlib.sha256(content).digest()
    assert b"".join([block async for block in spool.chunks()]) == content
    spool.close()


async def test_the_file_has_no_name_and_its_disk_comes_back(tmp_path: Path) -> None:
    spool = SpoolFile(str(tmp_path))
    await spool.write(bytes(LARGE_IN_MEMORY + 1))
    await spool.finish()
    before = len(os.listdir("/proc/self/fd"))

    assert list(tmp_path.iterdir()) == []
    spool.close()
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


async def test_a_close_while_a_thread_writes_waits_for_nobody_and_leaks_nothing(
    tmp_path: Path,
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        spool = SpoolFile(str(tmp_path))
        writing = asyncio.create_task(spool.write(bytes(2_000_000)))
        await asyncio.sleep(0)
        spool.close()
        await asyncio.gather(writing, return_exceptions=True)

    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_a_closed_spool_is_not_read(tmp_path: Path) -> None:
    spool = SpoolFile(str(tmp_path))
    await spool.write(bytes(LARGE_IN_MEMORY + 1))
    await spool.finish()
    spool.close()

    with pytest.raises(ValueError, match="closed"):
        spool.pread(0, 10)


async def test_only_so_much_large_content_is_in_memory_at_a_time(tmp_path: Path) -> None:
    before = spools._lent
    many = [SpoolFile(str(tmp_path)) for _ in range(LENDABLE // LARGE_IN_MEMORY + 3)]

    for spool in many:
        await spool.write(bytes(IN_MEMORY + 1))

    finished = [await spool.finish() for spool in many]
    assert sum(isinstance(one, bytes) for one in finished) == LENDABLE // LARGE_IN_MEMORY
    for spool in many:
        spool.close()
        spool.close()
    assert spools._lent == before

    again = SpoolFile(str(tmp_path))
    await again.write(bytes(IN_MEMORY + 1))
    assert isinstance(await again.finish(), bytes)
    again.close()
