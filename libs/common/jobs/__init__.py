"""What roles hand over to each other: record headers and jobs, with version and JSON form.

Every structure tolerates fields it does not know and has defaults for those that came
later, so that version N-1 and N can run side by side.  Bump `ver` only when an old
reader would do the wrong thing.
"""

from libs.common.jobs.envelope import Client, Envelope, Recipient
from libs.common.jobs.job import (
    ENGINES,
    DeliveryJob,
    EngineNotice,
    FilterJob,
    LearnJob,
    RelayJob,
    StorageJob,
    Target,
    VerdictReply,
    decode,
    encode,
)
from libs.common.jobs.mail_id import mail_id_time, new_mail_id
from libs.common.jobs.plan import Plan, decode_plan
from libs.common.jobs.record import Origin, RecordHeader
from libs.common.jobs.verdict import Verdict

__all__ = [
    "ENGINES",
    "Client",
    "DeliveryJob",
    "EngineNotice",
    "Envelope",
    "FilterJob",
    "LearnJob",
    "Origin",
    "Plan",
    "Recipient",
    "RecordHeader",
    "RelayJob",
    "StorageJob",
    "Target",
    "Verdict",
    "VerdictReply",
    "decode",
    "decode_plan",
    "encode",
    "mail_id_time",
    "new_mail_id",
]
