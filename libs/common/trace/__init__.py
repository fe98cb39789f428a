"""Where is my mail?  Trace rows, the ledger's watermark, and the parking of jobs."""

from libs.common.trace.ledger import accounted
from libs.common.trace.parking import park
from libs.common.trace.trace import TraceRow, TraceWriter, write_trace
from libs.common.trace.watermark import Watermark, note_watermark, taken_before

__all__ = [
    "TraceRow",
    "TraceWriter",
    "Watermark",
    "accounted",
    "note_watermark",
    "park",
    "taken_before",
    "write_trace",
]
