"""The collector: one pass over rows, segments and the trash, each step safe to be cut off."""

from __future__ import annotations

from datetime import timedelta

from libs.common.blobstore.protocol import BlobStore
from libs.common.db import Database
from libs.common.garbage import metrics
from libs.common.garbage.forget import forget
from libs.common.garbage.held import held_segments
from libs.common.garbage.rules import MARGIN_SECONDS, Pass, Rules
from libs.common.garbage.survey import Scope, Survey
from libs.common.garbage.trash import Trash
from libs.common.queue.protocol import Queue
from libs.common.runtime.log import get_logger
from libs.common.trace import taken_before

log = get_logger(__name__)
_HOUR = timedelta(hours=1)


class Collector:
    """Collects the garbage of one blob store.  Several at once do no harm, one is enough."""

    def __init__(self, database: Database, queue: Queue, blobs: BlobStore, rules: Rules) -> None:
        self._database = database
        self._queue = queue
        self._blobs = blobs
        self._rules = rules

    async def collect(self, now: float, *, dry_run: bool = False) -> Pass:
        """One pass at a given time; a dry run only looks.

        Nothing is touched that came in after the watermarks of the queues: one of them may still
        hold it.  A backend that is away ends the pass, and the next one goes on.
        """
        done = Pass()
        line = await taken_before(self._database, self._queue, now, MARGIN_SECONDS)
        before = min(line, now - self._rules.after_seconds)
        scope = await self._scope(before, done, dry_run)
        survey = Survey(self._database, self._blobs, scope, done)
        for hour in await self._blobs.hours():
            # Whatever a segment holds came in before the end of its hour.
            if (hour + _HOUR).timestamp() < before:
                await survey.look(await self._blobs.segments(hour), now)
        # Asked again, for the looks at all those segments took their time.
        held = await held_segments(self._database)
        trash = Trash(self._database, self._blobs, self._rules, done, dry_run=dry_run)
        await trash.empty(now, before, held)
        if not dry_run:
            metrics.record(done)
            log.info("garbage collected", forgotten=done.forgotten, moved=done.moved)
        return done

    async def _scope(self, before: float, done: Pass, dry_run: bool) -> Scope:
        held = await held_segments(self._database)
        gone = await forget(self._database, before, held, dry_run=dry_run)
        done.forgotten = gone.count
        return Scope(before, held, self._rules.compact_below, dry_run, gone.ids, gone.octets)
