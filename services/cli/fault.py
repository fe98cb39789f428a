"""Faults as one line that says what to do, for people at a terminal."""

from __future__ import annotations

import sys
import traceback

from libs.common.accounts.registry import RegistryError
from libs.common.blobstore.protocol import BlobError
from libs.common.db import DatabaseUnavailable
from libs.common.queue.protocol import QueueError
from libs.common.runtime.settings import SettingsError


def sentence(error: BaseException) -> str | None:
    """What to tell a person, or None for a fault that only a traceback explains."""
    from libs.common.transfer.letter import TransferError
    from services.cli.refused import Refused
    from services.platform import StartError

    match error:
        case StartError() | SettingsError() | RegistryError() | Refused() | TransferError():
            return str(error)
        case DatabaseUnavailable():
            return f"database: {error}; is it running, and is HOLUB_DATABASE_URL right?"
        case QueueError():
            return f"queue: {error}; is it running, and is HOLUB_QUEUE_URL right?"
        case BlobError():
            return f"blob store: {error}; is there room, and is HOLUB_BLOB_URL right?"
        case ValueError() if str(error).startswith("HOLUB_"):
            return str(error)
        case OSError():
            return str(error)
        case BaseExceptionGroup():
            return sentence(error.exceptions[0])
    return None


def explain(error: BaseException) -> int:
    """Print the line (or, for a bug of ours, the traceback); the exit code."""
    text = sentence(error)
    if text is None:
        traceback.print_exception(error)
        text = "this is a fault in Holub; please report it with the lines above"
    for line in text.splitlines():
        print(f"holub: {line}", file=sys.stderr)
    return 1
