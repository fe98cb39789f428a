"""Message content: records in segments, durable before `put` returns.

`file:PATH` keeps segments as files with a group commit; `s3://KEY:SECRET@HOST:PORT/BUCKET?region=R`
keeps them as objects of any S3 (add `&http=1` where it speaks plain HTTP).
"""

from __future__ import annotations

from libs.common.blobstore.protocol import BlobStore


def open_blobstore(url: str) -> BlobStore:
    """The store that a URL names; `ValueError` when there is no such backend."""
    if url.startswith("file:"):
        from libs.common.blobstore.files import FilesBlobStore

        path = url.removeprefix("file:")
        return FilesBlobStore(path.removeprefix("//") if path.startswith("//") else path)
    if url.startswith("s3:"):
        from libs.common.blobstore.s3 import open_s3

        return open_s3(url)
    raise ValueError(f"HOLUB_BLOB_URL: no backend for {url!r}; use file: or s3:")
