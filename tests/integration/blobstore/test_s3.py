"""The S3 backend against a real S3 server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import obstore
import pytest

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobRef, BlobStore
from libs.common.blobstore.s3_object import open_bucket
from tests.unit.libs.common.blobstore.blobstore_contract import BlobStoreContract, Rewrite


def _rewriter(url: str) -> Rewrite:
    store = open_bucket(url)._store

    def rewrite(segment: str, change: Callable[[bytes], bytes]) -> None:
        obstore.put(store, segment, change(bytes(obstore.get(store, segment).bytes())))

    return rewrite


@pytest.fixture
async def store(s3_url: str) -> AsyncIterator[BlobStore]:
    store = open_blobstore(s3_url)
    yield store
    await store.close()


@pytest.fixture
def rewrite(s3_url: str) -> Rewrite:
    return _rewriter(s3_url)


class TestS3BlobStore(BlobStoreContract):
    pass


async def _listed(store: BlobStore) -> list[BlobRef]:
    found = []
    for hour in await store.hours():
        found += [entry.ref async for entry in store.index(hour)]
    return found


async def test_a_damaged_index_does_not_hide_the_other_objects(
    store: BlobStore, rewrite: Rewrite
) -> None:
    refs = [await store.put(b"{}", b"x", key=str(n)) for n in range(4)]
    rewrite(refs[0].segment, lambda raw: raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])
    rewrite(refs[1].segment, lambda raw: raw + b"behind the footer")
    rewrite(refs[2].segment, lambda raw: b"short")

    assert await _listed(store) == [refs[3]]


async def test_an_index_longer_than_one_look_is_read_whole(store: BlobStore) -> None:
    header = b"h" * 2000

    refs = await asyncio.gather(*(store.put(header, b"x", key=str(n)) for n in range(200)))

    assert set(await _listed(store)) == set(refs)
