"""`include`, `return` and `global` (RFC 6609): scripts that run other scripts of their owner."""

from __future__ import annotations

from collections.abc import Callable

from libs.protocols.sieve.arguments import Scope, check
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import Do, Run

MAX_DEPTH = 5
"""Scripts inside of each other (RFC 6609 §3.1: 3 at least); our stack bears them all nested."""
MAX_INCLUDED = 50
"""Scripts that one run may include."""


class Return(Exception):
    """`return`: the end of this script, and its caller goes on."""


def compile_include(node: Node, scope: Scope) -> Do:
    """`include`: the script is looked up when it is reached (RFC 6609 §3.2)."""
    tags = dict.fromkeys(("personal", "global", "once", "optional"), ("", ""))
    arguments = check(node, scope, tags, ("string",))
    shared = arguments.one_of(("personal", "global"), "personal") == "global"
    once, optional = "once" in arguments.tags, "optional" in arguments.tags
    name = scope.constant(arguments.positional[0].strings[0], node)
    if not isinstance(arguments.text(0), str):
        raise fail("the name of an included script cannot have variables", node.token)

    def do(run: Run) -> None:
        # Nobody keeps scripts for all accounts here, so there is no global one.
        commands = None if shared else run.around.included(name)
        if commands is None:
            if optional:
                return
            raise RunFault(f"include: there is no script {name!r}")
        if once and name in run.included:
            return
        if name in run.within or len(run.within) >= MAX_DEPTH:
            raise RunFault(f"include: {name!r} includes itself, or scripts are too deep")
        if len(run.included) >= MAX_INCLUDED:
            raise RunFault(f"more than {MAX_INCLUDED} scripts are included")
        run.included.append(name)
        _call(commands, name, run)

    return do


def _call(commands: Callable[[Run], None], name: str, run: Run) -> None:
    """Its own variables (RFC 6609 §3.4), the same flags and actions."""
    kept = run.variables, run.captured, run.global_names
    run.variables, run.captured, run.global_names = {}, [], set()
    run.within.append(name)
    try:
        commands(run)
    except Return:
        pass
    finally:
        run.within.pop()
        run.variables, run.captured, run.global_names = kept


def compile_return(node: Node, scope: Scope) -> Do:
    """`return`; in the script that is not included, as `stop` (RFC 6609 §3.3)."""
    check(node, scope, {}, ())

    def do(_: Run) -> None:
        raise Return

    return do


def compile_global(node: Node, scope: Scope) -> Do:
    """`global`: these names mean what they mean in other scripts (RFC 6609 §3.4.1)."""
    names = [one.lower() for one in check(node, scope, {}, ("list",)).positional[0].strings]
    scope.need("variables", node)
    for name in names:
        if not name.isidentifier() or not name.isascii():
            raise fail(f"{name!r} is not the name of a variable", node.token)

    def do(run: Run) -> None:
        run.global_names |= set(names)

    return do
