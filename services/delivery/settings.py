"""The knobs of delivery."""

from __future__ import annotations

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


class DeliverySettings(HolubSettings):
    """How delivery plans."""

    model_config = settings_config("DELIVERY")

    batch: int = Field(default=128, ge=1, le=1000)
    """Jobs that are planned in one transaction at most."""

    concurrency: int = Field(default=1, ge=1, le=32)
    """Batches under way at the same time in one process (SQLite takes one at a time)."""

    interval_seconds: float = Field(default=0.1, ge=0, le=1)
    """Time between the beginnings of two batches under load; more makes batches larger."""

    sieve_steps: int = Field(default=100_000, ge=1000, le=10_000_000)
    """What one Sieve script may cost for one message: tests, actions, and characters compared."""

    sieve_seconds: float = Field(default=0.5, gt=0, le=10)
    """Time that one Sieve script may take for one message; then the message is kept."""

    sieve_redirects: int = Field(default=4, ge=0, le=50)
    """Addresses that one Sieve script may redirect one message to; 0: none."""
