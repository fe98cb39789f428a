"""The knobs of storage."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


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
