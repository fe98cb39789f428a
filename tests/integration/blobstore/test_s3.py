"""The S3 backend against a real S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.common.blobstore import open_blobstore
from libs.common.blobstore.protocol import BlobStore
from tests.unit.libs.common.blobstore.blobstore_contract import BlobStoreContract


class TestS3BlobStore(BlobStoreContract):
    @pytest.fixture
    async def store(self, s3_url: str) -> AsyncIterator[BlobStore]:
        store = open_blobstore(s3_url)
        yield store
        await store.close()
