"""Garbage: content that nothing needs goes, and nothing else ever does (I4).

Mark, wait, sweep, trash.  A *record* is needed while its message has a row (a mailbox, an
undelete window or a quarantine entry keeps that), while a job in a row or queue may still ask for
it, or while a recipient has no terminal state.  A *segment* without any needed record is marked;
after a wait it is looked at again and put into the trash; after a grace, longer than any backup of
the database reaches back, it is looked at once more and deleted.  The trash is a row, not a place:
until its last moment a segment lies where it always lay, so a stale reference still reads, and a
database that was put back to yesterday finds all its content.
"""

from libs.common.garbage.collector import Collector
from libs.common.garbage.rules import Pass, Rules, Tally

__all__ = ["Collector", "Pass", "Rules", "Tally"]
