"""Wrong-looking errors of an S3 (X8): what is stored is never said to have failed for one fault,
what is not stored never to be there, and no damaged octet is served."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobError, BlobRef, BlobStore
from libs.common.blobstore.spool import SpoolFile
from tests.chaos.faultproxy import Action, Fault, FaultProxy


@pytest.fixture
async def proxy(s3_url: str) -> AsyncIterator[FaultProxy]:
    url = urlsplit(s3_url)
    assert url.hostname
    assert url.port
    async with FaultProxy(url.hostname, url.port, http=True) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: FaultProxy, s3_url: str) -> AsyncIterator[BlobStore]:
    port = urlsplit(s3_url).port
    store = open_blobstore(s3_url.replace(f":{port}/", f":{proxy.port}/"))
    yield store
    proxy.heal()
    await store.close()


async def _listed(store: BlobStore) -> list[BlobRef]:
    found = []
    for hour in await store.hours():
        found += [entry.ref async for entry in store.index(hour)]
    return found


async def _spooled(size: int) -> tuple[SpoolFile, bytes]:
    spool, content = SpoolFile(), os.urandom(size)
    for start in range(0, size, 65536):
        await spool.write(content[start : start + 65536])
    await spool.finish()
    return spool, content


@pytest.mark.parametrize("action", [Action.ERROR_BEFORE, Action.ERROR_AFTER, Action.DROP_AFTER])
@pytest.mark.parametrize("size", [100, 400_000])
async def test_one_lost_or_wrong_answer_to_a_put_is_no_failure(
    store: BlobStore, proxy: FaultProxy, action: Action, size: int
) -> None:
    content = os.urandom(size)
    proxy.inject(Fault(action, "PUT"))

    ref = await store.put(b"{}", content, key="k")

    assert proxy.hits[action] == 1
    assert (await store.read(ref)).content == content
    assert await _listed(store) == [ref]


@pytest.mark.parametrize("action", [Action.ERROR_AFTER, Action.DROP_AFTER])
async def test_a_put_that_was_stored_and_never_answered_well_is_found_by_its_key(
    store: BlobStore, proxy: FaultProxy, action: Action
) -> None:
    proxy.inject(Fault(action, "PUT", times=None))

    refs = await asyncio.gather(*(store.put(b"{}", b"%d" % n, key=str(n)) for n in range(10)))

    assert [(await store.read(ref)).content for ref in refs] == [b"%d" % n for n in range(10)]
    assert len(await _listed(store)) == 10


async def test_a_stalled_answer_is_looked_up_within_the_deadline(
    store: BlobStore, proxy: FaultProxy
) -> None:
    proxy.inject(Fault(Action.STALL_AFTER, "PUT", times=None))
    start = time.monotonic()

    ref = await store.put(b"{}", b"content", key="k")

    assert time.monotonic() - start < 8
    assert (await store.read(ref)).content == b"content"


@pytest.mark.parametrize("action", [Action.ERROR_BEFORE, Action.STALL_BEFORE])
@pytest.mark.parametrize("size", [100, 400_000])
async def test_what_is_not_stored_is_an_error_within_the_deadline(
    store: BlobStore, proxy: FaultProxy, action: Action, size: int
) -> None:
    proxy.inject(Fault(action, "PUT", times=None))
    start = time.monotonic()

    results = await asyncio.gather(
        *(store.put(b"{}", b"x" * size, key=str(n)) for n in range(12)), return_exceptions=True
    )

    assert {type(result) for result in results} == {BlobError}
    assert time.monotonic() - start < 9
    proxy.heal()
    assert await _listed(store) == []
    await store.put(b"{}", b"later", key="k")


@pytest.mark.parametrize("action", [Action.ERROR_BEFORE, Action.ERROR_AFTER, Action.DROP_AFTER])
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_one_wrong_answer_amid_the_parts_of_a_large_message_is_no_failure(
    store: BlobStore, proxy: FaultProxy, action: Action, method: str
) -> None:
    """POST begins and completes the upload of parts; the second of them completes it."""
    spool, content = await _spooled(12_000_000)
    path = "uploadId=" if method == "POST" else "partNumber="
    proxy.inject(Fault(action, method, path=path))

    ref = await store.put(b"{}", spool, key="k")

    spool.close()
    assert proxy.hits[action] == 1
    assert (await store.read(ref)).content == content


async def test_a_large_message_whose_completion_never_works_is_an_error(
    store: BlobStore, proxy: FaultProxy
) -> None:
    spool, _ = await _spooled(6_000_000)
    proxy.inject(Fault(Action.ERROR_BEFORE, "POST", path="uploadId=", times=None))
    start = time.monotonic()

    with pytest.raises(BlobError):
        await store.put(b"{}", spool, key="k")

    spool.close()
    assert time.monotonic() - start < 9
    proxy.heal()
    assert await _listed(store) == []


@pytest.mark.parametrize("size", [1000, 400_000])
@pytest.mark.parametrize(
    "action",
    [Action.TRUNCATE, Action.FLIP, Action.ERROR_BEFORE, Action.DROP_AFTER, Action.STALL_AFTER],
)
async def test_one_bad_answer_to_a_read_is_asked_again(
    store: BlobStore, proxy: FaultProxy, action: Action, size: int
) -> None:
    content = os.urandom(size)
    ref = await store.put(b"{}", content, key="k")
    proxy.inject(Fault(action, "GET"))

    record = await store.read(ref)

    assert proxy.hits[action] == 1
    assert record.content == content


@pytest.mark.parametrize("action", [Action.TRUNCATE, Action.FLIP])
async def test_a_body_that_always_comes_damaged_is_never_served(
    store: BlobStore, proxy: FaultProxy, action: Action
) -> None:
    ref = await store.put(b"{}", os.urandom(1000), key="k")
    proxy.inject(Fault(action, "GET", times=None))

    with pytest.raises(BlobError):
        await store.read(ref)


async def test_a_truncated_index_is_an_error_and_not_an_hour_without_mail(
    store: BlobStore, proxy: FaultProxy
) -> None:
    """The sweeper takes an empty hour for settled and never looks at it again."""
    ref = await store.put(b"{}", b"content", key="k")
    proxy.inject(Fault(Action.TRUNCATE, "GET", path=ref.segment, times=None, octets=10))

    with pytest.raises(BlobError):
        await _listed(store)

    proxy.heal()
    assert await _listed(store) == [ref]


async def test_a_store_that_went_away_is_an_error_and_not_a_hang(
    store: BlobStore, proxy: FaultProxy
) -> None:
    ref = await store.put(b"{}", b"content", key="k")
    proxy.refuse()
    start = time.monotonic()

    with pytest.raises(BlobError):
        await store.put(b"{}", b"content", key="k")
    with pytest.raises(BlobError):
        await store.read(ref)
    with pytest.raises(BlobError):
        await store.delete(ref.segment)

    assert time.monotonic() - start < 40
    proxy.heal()
    assert (await store.read(ref)).content == b"content"


async def test_puts_go_through_random_faults_with_no_loss_and_no_false_success(
    store: BlobStore, proxy: FaultProxy
) -> None:
    for action in (Action.ERROR_BEFORE, Action.ERROR_AFTER, Action.DROP_AFTER, Action.TRUNCATE):
        proxy.inject(Fault(action, times=None, chance=0.05))
    kept: dict[BlobRef, bytes] = {}

    async def put(number: int) -> None:
        for _ in range(10):
            content = os.urandom(2000)
            try:
                kept[await store.put(b"{}", content, key=str(number))] = content
            except BlobError:
                continue

    await asyncio.gather(*(put(number) for number in range(10)))

    proxy.heal()
    assert len(kept) > 50
    for ref, content in kept.items():
        assert (await store.read(ref)).content == content
    assert set(kept) <= set(await _listed(store))
