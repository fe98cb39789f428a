"""What every blob store promises; subclass it and provide `store`."""

from __future__ import annotations

import asyncio
import os
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.common.blobstore.protocol import BlobCorrupt, BlobError, BlobMissing, BlobRef, BlobStore
from libs.common.blobstore.spool import SpoolFile

Rewrite = Callable[[str, Callable[[bytes], bytes]], None]
"""Replaces a stored segment by what a function makes of it."""


class BlobStoreContract:
    """The suite; each backend runs all of it, and provides `store` and `rewrite`."""

    @pytest.mark.parametrize("size", [0, 1, 4096, 300_000, 3_000_000])
    async def test_content_comes_back_byte_for_byte(self, store: BlobStore, size: int) -> None:
        content = os.urandom(size)

        ref = await store.put(b'{"a":1}', content, key="k")

        record = await store.read(ref)
        assert (record.header, record.content) == (b'{"a":1}', content)
        assert len(record.sha256) == 32

    async def test_content_that_was_spooled_comes_back(self, store: BlobStore) -> None:
        spool, content = SpoolFile(), os.urandom(5_000_000)
        for start in range(0, len(content), 65536):
            await spool.write(content[start : start + 65536])

        ref = await store.put(b"{}", await spool.finish(), key="k")
        spool.close()

        assert (await store.read(ref)).content == content

    async def test_nul_and_every_other_octet_come_back(self, store: BlobStore) -> None:
        content = bytes(1000) + bytes(range(256)) + b"\r\n.\r\n\n\r\0"

        ref = await store.put(b"\0header\xff", content, key="k")

        record = await store.read(ref)
        assert (record.header, record.content) == (b"\0header\xff", content)

    async def test_a_large_spool_is_stored_in_flat_memory(self, store: BlobStore) -> None:
        spool, block = SpoolFile(), os.urandom(1_000_000)
        for _ in range(30):
            await spool.write(block)
        content = await spool.finish()

        tracemalloc.start()
        try:
            ref = await store.put(b"{}", content, key="k")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            spool.close()

        assert peak < 18_000_000  # three parts of 5 MiB, whatever the size
        assert await store.read_range(ref, 29_000_000, 30_000_000) == block
        assert (await store.read(ref)).content == block * 30

    async def test_a_spool_of_any_other_kind_is_stored(self, store: BlobStore) -> None:
        class Blocks:
            size = 700_000

            async def chunks(self) -> AsyncIterator[bytes]:
                for number in range(7):
                    yield bytes([number]) * 100_000

        ref = await store.put(b"{}", Blocks(), key="k")

        assert await store.read_range(ref, 99_999, 100_001) == b"\0\1"
        assert len((await store.read(ref)).content) == 700_000

    async def test_an_idle_store_commits_at_once(self, store: BlobStore) -> None:
        await store.put(b"{}", b"first", key="a")

        start = time.monotonic()
        await store.put(b"{}", b"second", key="b")

        assert time.monotonic() - start < 2

    async def test_the_same_key_twice_gives_two_records(self, store: BlobStore) -> None:
        one = await store.put(b"{}", b"one", key="k")
        two = await store.put(b"{}", b"two", key="k")

        assert (await store.read(one)).content == b"one"
        assert (await store.read(two)).content == b"two"

    async def test_a_flipped_bit_is_found(self, store: BlobStore, rewrite: Rewrite) -> None:
        ref = await store.put(b"{}", b"x" * 1000, key="k")

        rewrite(ref.segment, lambda raw: raw[:500] + bytes([raw[500] ^ 1]) + raw[501:])

        with pytest.raises(BlobCorrupt):
            await store.read(ref)

    async def test_a_truncated_record_is_never_served(
        self, store: BlobStore, rewrite: Rewrite
    ) -> None:
        ref = await store.put(b"{}", b"x" * 1000, key="k")

        rewrite(ref.segment, lambda raw: raw[:700])

        with pytest.raises(BlobError):
            await store.read(ref)

    async def test_an_empty_range_is_empty(self, store: BlobStore) -> None:
        ref = await store.put(b"{}", b"content", key="k")

        assert await store.read_range(ref, 3, 3) == b""
        assert await store.read_range(ref, 5, 2) == b""

    async def test_a_put_whose_caller_gave_up_harms_no_other(self, store: BlobStore) -> None:
        puts = [asyncio.create_task(store.put(b"{}", b"%d" % n, key=str(n))) for n in range(20)]
        await asyncio.sleep(0)
        for task in puts[::2]:
            task.cancel()

        refs = [await task for task in puts[1::2]]

        contents = [(await store.read(ref)).content for ref in refs]
        assert contents == [b"%d" % n for n in range(1, 20, 2)]

    async def test_puts_under_way_are_finished_by_close(self, store: BlobStore) -> None:
        puts = [asyncio.create_task(store.put(b"{}", b"x", key=str(n))) for n in range(20)]
        await asyncio.sleep(0)

        await store.close()

        assert len({await task for task in puts}) == 20

    async def test_puts_that_wait_together_share_segments(self, store: BlobStore) -> None:
        contents = [os.urandom(500) for _ in range(100)]

        refs = await asyncio.gather(
            *(store.put(b"{}", c, key=str(i)) for i, c in enumerate(contents))
        )

        assert len({ref.segment for ref in refs}) <= 20
        for ref, content in zip(refs, contents, strict=True):
            assert (await store.read(ref)).content == content

    async def test_a_range_of_the_content_is_read(self, store: BlobStore) -> None:
        content = bytes(range(256)) * 2000
        await store.put(b"before", b"another record", key="a")
        ref = await store.put(b"header", content, key="b")

        assert await store.read_range(ref, 0, 10) == content[:10]
        assert await store.read_range(ref, 1000, 401_000) == content[1000:401_000]
        assert await store.read_range(ref, len(content) - 1, len(content)) == content[-1:]

    async def test_the_index_of_the_hour_lists_every_record(self, store: BlobStore) -> None:
        refs = await asyncio.gather(
            *(store.put(b'{"n":%d}' % n, b"x" * n, key=str(n)) for n in range(30))
        )
        refs.append(await store.put(b'{"n":"big"}', b"y" * 300_000, key="big"))

        found = {}
        for hour in await store.hours():
            async for entry in store.index(hour):
                found[entry.ref] = entry

        assert set(refs) <= set(found)
        assert {found[ref].header for ref in refs[:30]} == {b'{"n":%d}' % n for n in range(30)}
        assert found[refs[-1]].size == 300_000

    async def test_the_current_hour_is_listed_after_a_put(self, store: BlobStore) -> None:
        await store.put(b"{}", b"x", key="k")

        hours = await store.hours()

        now = datetime.now(UTC)  # noqa: TID251 - the store names segments by the clock
        assert any(abs((now - hour).total_seconds()) < 7200 for hour in hours)

    async def test_what_is_not_there_is_missing(self, store: BlobStore) -> None:
        with pytest.raises(BlobMissing):
            await store.read(BlobRef("mail/2020/01/01/00/nothing", 0, 100))

    async def test_a_record_beyond_the_end_is_an_error(self, store: BlobStore) -> None:
        ref = await store.put(b"{}", b"x", key="k")

        with pytest.raises(BlobError):
            await store.read(BlobRef(ref.segment, ref.offset, ref.length + 100_000))

    async def test_deleting_twice_is_success(self, store: BlobStore) -> None:
        ref = await store.put(b"{}", b"y" * 300_000, key="k")

        await store.delete(ref.segment)
        await store.delete(ref.segment)

        with pytest.raises(BlobError):
            await store.read(ref)

    async def test_after_close_a_put_is_refused(self, store: BlobStore) -> None:
        await store.close()

        with pytest.raises(BlobError):
            await store.put(b"{}", b"x", key="k")

    async def test_segments_of_an_hour_and_their_records_are_listed(self, store: BlobStore) -> None:
        refs = [await store.put(b"%d" % n, b"x" * n, key=str(n)) for n in (1, 300_000, 3)]

        listed = [s for hour in await store.hours() for s in await store.segments(hour)]
        records = [entry for s in listed for entry in await store.records(s.key)]

        assert {s.key for s in listed} == {ref.segment for ref in refs}
        assert {(e.ref, e.header, e.size) for e in records} == set(
            zip(refs, (b"1", b"300000", b"3"), (1, 300_000, 3), strict=True)
        )
        assert len(records) == len(refs)
        assert sum(s.octets for s in listed) >= sum(ref.length for ref in refs)

    @pytest.mark.parametrize("at", [0, -1])
    async def test_the_records_of_a_damaged_segment_are_not_listed_as_all_of_it(
        self, store: BlobStore, rewrite: Rewrite, at: int
    ) -> None:
        ref = await store.put(b'{"header":1}', b"x" * 100, key="k")

        def damage(raw: bytes) -> bytes:
            # Of a file a prelude or a checksum, of an object always its index.
            place = at if at < 0 or ref.length == len(raw) else len(raw) - 20
            return raw[:place] + bytes([raw[place] ^ 1]) + raw[place:][1:]

        rewrite(ref.segment, damage)

        with pytest.raises(BlobCorrupt):
            await store.records(ref.segment)

    async def test_the_records_of_a_segment_that_is_gone_are_missing(
        self, store: BlobStore
    ) -> None:
        ref = await store.put(b"{}", b"x", key="k")
        await store.delete(ref.segment)

        with pytest.raises(BlobMissing):
            await store.records(ref.segment)

    async def test_a_segment_taken_out_and_adopted_holds_the_same_records(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        contents = [os.urandom(size) for size in (10, 5000, 6_000_000)]
        refs = [await store.put(b"{}", c, key=str(n)) for n, c in enumerate(contents)]
        kept = {}
        for hour in await store.hours():
            for segment in await store.segments(hour):
                kept[segment.key] = tmp_path / segment.key.rpartition("/")[2]
                blocks = [block async for block in store.blocks(segment)]
                kept[segment.key].write_bytes(b"".join(blocks))
        assert set(kept) == {ref.segment for ref in refs}
        for key in kept:
            await store.delete(key)

        for key, path in kept.items():
            await store.adopt(key, path)

        assert [(await store.read(ref)).content for ref in refs] == contents
        listed = [entry.ref for h in await store.hours() async for entry in store.index(h)]
        assert set(listed) == set(refs)
