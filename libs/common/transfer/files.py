"""Reading files that others own: no link is followed, nothing large is in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

from libs.common.blobstore.spool import SpoolFile

BLOCK = 1024 * 1024


async def blocks(path: Path) -> AsyncIterator[bytes]:
    """A file's octets; `OSError` for a link, for whoever owns a Maildir decides what is in it."""
    with closing(os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", 0)) as file:
        while block := await asyncio.to_thread(file.read, BLOCK):
            yield block


async def content_of(spool: SpoolFile) -> bytes | SpoolFile:
    """What a spool took; it stays open only when that is in its file."""
    content = await spool.finish()
    if isinstance(content, bytes):
        spool.close()
    return content
