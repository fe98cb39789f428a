"""Tests of mailboxes by their use and by their id (RFC 8579, RFC 9042)."""

from __future__ import annotations

from libs.protocols.sieve.arguments import Scope, check
from libs.protocols.sieve.parse import Node
from libs.protocols.sieve.run import Check, Run
from libs.protocols.sieve.text import Text


def _expanded(texts: list[str | Text], run: Run) -> list[str]:
    return [one if isinstance(one, str) else one(run) for one in texts]


def compile_special_use(node: Node, scope: Scope) -> Check:
    """`specialuse_exists`: is there a mailbox for each use, or has this one all of them?"""
    named = len(node.arguments) > 1
    arguments = check(node, scope, {}, ("string", "list") if named else ("list",))
    uses = arguments.texts(int(named))
    name = arguments.texts(0) if named else []

    def test(run: Run) -> bool:
        there = run.around.special_uses
        wanted = {one.lower() for one in _expanded(uses, run)}
        if named:
            return wanted <= {there.get(_expanded(name, run)[0], "").lower()} - {""}
        return wanted <= {one.lower() for one in there.values()}

    return test


def compile_mailbox_ids(node: Node, scope: Scope) -> Check:
    """`mailboxidexists`: are all of these there (RFC 9042 §5)?"""
    ids = check(node, scope, {}, ("list",)).texts(0)
    return lambda run: all(one in run.around.mailbox_ids for one in _expanded(ids, run))
