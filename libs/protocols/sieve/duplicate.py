"""`duplicate` (RFC 7352): has a message with this id come before?"""

from __future__ import annotations

import hashlib
import re

from libs.protocols.sieve.arguments import Scope, Tags, check
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import Check, Run, Tracked

DEFAULT_SECONDS = 7 * 86_400
MOST_SECONDS = 90 * 86_400
MAX_TRACKED = 16
"""Ids that one run may ask for: each may be a query."""
_FIELD = re.compile(r"[!-9;-~]+")
_TAGS: Tags = {
    "handle": ("", "string"),
    "header": ("", "string"),
    "uniqueid": ("", "string"),
    "seconds": ("", "number"),
    "last": ("", ""),
}


def compile_duplicate(node: Node, scope: Scope) -> Check:
    """The test, or a `SieveError`."""
    arguments = check(node, scope, _TAGS, ())
    arguments.one_of(("header", "uniqueid"), "")
    given = arguments.tags.get("uniqueid")
    unique = scope.text(given.strings[0], node) if given else None
    header = arguments.constant("header").lower() or "message-id"
    if not _FIELD.fullmatch(header):
        raise fail(f"{header!r} is not the name of a header field", node.token)
    handle, last = arguments.constant("handle"), "last" in arguments.tags
    seconds = arguments.number("seconds")
    period = DEFAULT_SECONDS if seconds is None else min(max(seconds, 1), MOST_SECONDS)

    def test(run: Run) -> bool:
        if unique is None:
            # RFC 7352 §3: of several fields, the first; without any, nothing is a duplicate.
            found = next(iter(run.message.texts(header)), "")
        else:
            found = unique if isinstance(unique, str) else unique(run)
        if not found:
            return False
        octets = f"{handle}\0{found}".encode("utf-8", "replace")
        tracked = Tracked(hashlib.sha256(octets).hexdigest(), period, last)
        if tracked not in run.tracked:
            run.tracked.append(tracked)
        if len(run.tracked) > MAX_TRACKED:
            raise RunFault(f"more than {MAX_TRACKED} ids for duplicate")
        return run.around.seen(tracked.key)

    return test
