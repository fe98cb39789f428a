"""What delivery decided for a message, as it is kept in the table `plan`."""

from __future__ import annotations

import msgspec

from libs.common.jobs.job import RelayJob, StorageJob


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored before the fan-out, and reused when the job comes again."""

    storage: StorageJob | None = None
    relays: tuple[RelayJob, ...] = ()
    ver: int = 1


_decoder = msgspec.json.Decoder(Plan)


def decode_plan(raw: str | bytes) -> Plan:
    """The plan in a row's `targets`; raises `msgspec.MsgspecError` when it is not one of ours."""
    return _decoder.decode(raw)
