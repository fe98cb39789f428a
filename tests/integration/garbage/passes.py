"""A process that collects garbage when it is told to, each time in a child that may be killed.

One line of input is the days from now at which to collect, one line of output the exit code.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from libs.common.blobstore import open_blobstore
from libs.common.db import open_database
from libs.common.garbage import Collector
from libs.common.queue import open_queue
from tests.integration.garbage.world import DAY, RULES


async def _collect(folder: str, days: list[int]) -> None:
    database = open_database(f"sqlite:///{folder}/holub.db")
    queue = open_queue(f"sqlite:///{folder}/queue.db")
    for day in days:
        blobs = open_blobstore(f"file:{folder}/blobs")
        await Collector(database, queue, blobs, RULES).collect(time.time() + day * DAY)
        await blobs.close()
    await queue.close()
    await database.close()


def _main(folder: str) -> None:
    for line in sys.stdin:
        if not (child := os.fork()):
            os.dup2(2, 1)  # what is logged is no answer
            asyncio.run(_collect(folder, [int(day) for day in line.split()]))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
