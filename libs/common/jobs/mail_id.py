"""`mail_id`: our name of a message from ingress on, a UUIDv7 (RFC 9562 §5.7)."""

from __future__ import annotations

import os
import time
import uuid

_last_milliseconds = 0
_counter = 0


def new_mail_id() -> str:
    """A fresh id in the canonical form of 36 characters; ascending within a process.

    The 12 bits after the time count within one millisecond (RFC 9562 §6.2, method 1),
    and a clock that steps back does not: the last time seen is kept.
    """
    global _last_milliseconds, _counter
    now = time.time_ns() // 1_000_000
    if now > _last_milliseconds:
        _last_milliseconds, _counter = now, int.from_bytes(os.urandom(1), "big")
    else:
        _counter += 1
        if _counter > 0xFFF:
            _last_milliseconds, _counter = _last_milliseconds + 1, 0
    rand = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    high = (_last_milliseconds & ((1 << 48) - 1)) << 16 | 0x7 << 12 | _counter
    digits = f"{high << 64 | 0b10 << 62 | rand:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def mail_id_time(mail_id: str) -> float:
    """When the id was made, in seconds since the epoch; `ValueError` when it is not one."""
    return (uuid.UUID(mail_id).int >> 80) / 1000
