"""Structured logs: one JSON object a line, on standard error, without secrets.

Field names are the words of the glossary, and `mail_id` is in every line that concerns a message.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import orjson
import structlog

_SECRET = ("password", "secret", "token", "authorization", "api_key")


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in event:
        if _is_secret(key):
            event[key] = "***"
    return event


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    name = key.lower()
    return any(word in name for word in _SECRET)


def _stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = time.time()
    event["timestamp"] = f"{_second(int(now))}.{int(now % 1 * 1e6):06}Z"
    return event


@lru_cache(maxsize=4)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def _dumps(event: Any, default: Any = None, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


def configure_logging(level: str, form: str) -> None:
    """Set up structlog and the standard library's logging for this process."""
    number = getattr(logging, level.upper())
    renderer, factory = _form(form)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.format_exc_info,
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def _form(form: str) -> tuple[Any, Any]:
    """(how a line is rendered, what writes it); JSON is written as the octets that it is."""
    if form == "console":
        return structlog.dev.ConsoleRenderer(), structlog.PrintLoggerFactory(sys.stderr)
    renderer = structlog.processors.JSONRenderer(serializer=_dumps)
    return renderer, structlog.BytesLoggerFactory(sys.stderr.buffer)


def get_logger(name: str) -> Any:
    """A logger for a module; call its methods with an event and named fields."""
    return structlog.get_logger(module=name)
