"""How often somebody may do something, and who may do nothing for a while.

Counts are kept in memory and shared between replicas through the database by a task in the
background, so that asking costs no round trip: a count that is far from its limit is not shared at
all (`SHARED_FROM`), and the others are known to everybody within about a second.  Blocks are
written at once, and read by everybody every two seconds.  While the database is away each replica
goes on with what it knows.
"""

from __future__ import annotations

from libs.common.limits.block import Block, Blocks
from libs.common.limits.counter import Counts, Limit
from libs.common.limits.peer import network_keys
from libs.common.limits.shared import Limits

__all__ = [
    "Block",
    "Blocks",
    "Counts",
    "Limit",
    "Limits",
    "network_keys",
]
