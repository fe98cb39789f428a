"""The doctor: what a domain must publish, and whether the world sees it.

`records` says what to publish; `examine` compares that with DNS and with the mail host.
"""

from libs.common.admin.doctor.examine import Finding, Site, examine
from libs.common.admin.doctor.records import Record, records_for

__all__ = ["Finding", "Record", "Site", "examine", "records_for"]
