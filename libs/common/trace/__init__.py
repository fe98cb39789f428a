"""Where is my mail?  Trace rows, the ledger's watermark, and the parking of jobs."""

from libs.common.trace.ledger import Accounts, accounted, caused, planned_to_leave
from libs.common.trace.parking import park
from libs.common.trace.trace import TraceRow, TraceWriter, write_trace
from libs.common.trace.watermark import RELAY, Watermark, note_watermark, taken_before

__all__ = [
    "RELAY",
    "Accounts",
    "TraceRow",
    "TraceWriter",
    "Watermark",
    "accounted",
    "caused",
    "note_watermark",
    "park",
    "planned_to_leave",
    "taken_before",
    "write_trace",
]
