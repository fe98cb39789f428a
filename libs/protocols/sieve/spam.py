"""`spamtest` (RFC 5235 §3.2): what the platform's filter thinks of the message, as a number."""

from __future__ import annotations

from libs.protocols.sieve.arguments import MATCH, Scope, check
from libs.protocols.sieve.matcher import matcher
from libs.protocols.sieve.parse import Node
from libs.protocols.sieve.run import Check, Run


def compile_spamtest(node: Node, scope: Scope) -> Check:
    """0: not tested; 1 to 10: from surely not to surely spam; with `:percent`, 0 to 100."""
    tags = {**MATCH, "percent": ("spamtestplus", "")}
    arguments = check(node, scope, tags, ("string",))
    match, percent = matcher(arguments, arguments.texts(0)), "percent" in arguments.tags

    def test(run: Run) -> bool:
        level = run.around.spam
        if level is None:
            # :count of what was not tested is 0.
            return match.matches(run, [] if match.counts else ["0"])
        return match.matches(run, [str(round(level * 100) if percent else 1 + round(level * 9))])

    return test
