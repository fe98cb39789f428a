"""The knobs of storage."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from libs.common.garbage import Rules
from libs.common.runtime.settings import HolubSettings, settings_config

_HOUR = 3600.0
_DAY = 86400.0
_LEAST_LEDGER_DAYS = 30


class StorageSettings(HolubSettings):
    """How storage commits, sweeps and pumps."""

    model_config = settings_config("STORAGE")

    batch: int = Field(default=128, ge=1, le=1000)
    """Jobs that are committed in one transaction at most."""

    concurrency: int = Field(default=1, ge=1, le=32)
    """Batches under way at the same time in one process (SQLite takes one at a time)."""

    interval_seconds: float = Field(default=0.1, ge=0, le=1)
    """Time between the beginnings of two batches under load; more makes batches larger."""

    sweep: bool = True
    """Whether this process runs the sweeper.  One is enough; several do no harm."""

    sweep_every_seconds: float = Field(default=60, gt=0)
    """Time between two passes of the sweeper."""

    sweep_after_seconds: float = Field(default=600, gt=0)
    """How old a message without any row must be before it is put again."""

    sweep_again_seconds: float = Field(default=3600, gt=0)
    """How long to wait before the same message is put again once more."""

    sweep_hours: int = Field(default=120, ge=1)
    """How many hours back the sweeper looks at each start; longer than any queue lifetime."""

    outbox_every_seconds: float = Field(default=1, gt=0)
    """Time between two looks at an empty outbox."""

    trace_days: float = Field(default=90, ge=0)
    """How long the steps of a message can be looked at; 0: for ever."""

    ledger_days: float = Field(default=90, ge=0)
    """How long it is noted what was done for a message that is at its end, so that it is not done
    again, whatever comes late; 0: for ever."""

    quarantine_days: float = Field(default=30, gt=0)
    """How long held mail waits for somebody's decision before it is discarded."""

    search_index: bool = True
    """Whether this process writes the index of SEARCH BODY and TEXT, in quiet moments."""

    gc: bool = True
    """Whether this process collects garbage.  Of all that do, one works at a time."""

    gc_every_hours: float = Field(default=6, gt=0)
    """Time between two passes of garbage collection, over all processes."""

    gc_after_days: float = Field(default=7, ge=0)
    """Content younger than this is not looked at."""

    gc_wait_hours: float = Field(default=24, ge=0)
    """Time between the mark of a segment that nothing needs and the second look at it."""

    gc_grace_days: float = Field(default=30, ge=0)
    """How long it then lies in the trash, before the third look and the deletion."""

    gc_restore_days: float = Field(default=14, ge=0)
    """How old a backup of the database may be that is put back; the grace must be longer."""

    gc_compact_below: float = Field(default=0.5, ge=0, lt=1)
    """Segments of which a smaller share is needed are compacted; 0: none is."""

    @model_validator(mode="after")
    def _nothing_is_forgotten_too_early(self) -> Self:
        if 0 < self.ledger_days < max(_LEAST_LEDGER_DAYS, self.sweep_hours / 24):
            raise ValueError(
                f"ledger_days must be 0, or at least {_LEAST_LEDGER_DAYS} and more than what the"
                " sweeper looks back: a job that comes late would be done twice"
            )
        if self.gc_grace_days <= self.gc_restore_days and self.gc_restore_days:
            raise ValueError(
                "gc_grace_days must be more than gc_restore_days: a database that is put back"
                " would point to content that is deleted"
            )
        return self

    def garbage_rules(self) -> Rules:
        """What the collector goes by."""
        return Rules(
            after_seconds=self.gc_after_days * _DAY,
            wait_seconds=self.gc_wait_hours * _HOUR,
            grace_seconds=self.gc_grace_days * _DAY,
            compact_below=self.gc_compact_below,
        )
