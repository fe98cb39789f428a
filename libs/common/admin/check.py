"""Preconditions: a change is refused when the row is not the one that the caller saw."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from libs.common.accounts.registry import RegistryError

Check = Callable[[Mapping[str, Any]], None]
"""Called with the row inside the transaction that changes it; raises `PreconditionFailed`."""


class PreconditionFailed(RegistryError):
    """Somebody else changed it in between (RFC 9110 §13.1.1)."""


def accept(_: Mapping[str, Any]) -> None:
    """No precondition."""


def etag(item: Mapping[str, Any]) -> str:
    """The version of what is shown (RFC 9110 §8.8.3); what mail itself changes does not count."""
    counted = {name: value for name, value in item.items() if not name.startswith("used_")}
    content = orjson.dumps(counted, default=str, option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def matches(wanted: str) -> Check:
    """The check for an If-Match field; empty: none."""
    tags = [item.strip() for item in wanted.split(",") if item.strip()]

    def check(item: Mapping[str, Any]) -> None:
        if tags and "*" not in tags and etag(item) not in tags:
            raise PreconditionFailed("If-Match", f"it was changed meanwhile; now {etag(item)}")

    return check
