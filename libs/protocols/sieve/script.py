"""A compiled script, and its run on a message.

Whatever goes wrong while it runs, the message is kept (RFC 5228 §2.10.6): none of the script's
actions is taken then, and the fault is there for its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.protocols.sieve.action import Action, Keep
from libs.protocols.sieve.arguments import Scope, check
from libs.protocols.sieve.command import compile_action
from libs.protocols.sieve.condition import compile_test, run_fault
from libs.protocols.sieve.fault import RunFault, SieveError
from libs.protocols.sieve.include import Return
from libs.protocols.sieve.lexer import MAX_SCRIPT_OCTETS
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.parse import Node, fail, parse
from libs.protocols.sieve.run import Check, Do, Limits, Run, Stop, Surroundings, Tracked

EXTENSIONS = frozenset(
    {
        "fileinto",
        "reject",
        "ereject",
        "envelope",
        "encoded-character",
        "comparator-i;octet",
        "comparator-i;ascii-casemap",
        "comparator-i;ascii-numeric",
        "comparator-i;unicode-casemap",
        "copy",
        "body",
        "variables",
        "relational",
        "imap4flags",
        "subaddress",
        "date",
        "index",
        "mailbox",
        "environment",
        "ihave",
        "regex",
        "vacation",
        "vacation-seconds",
        "duplicate",
        "include",
        "spamtest",
        "spamtestplus",
        "special-use",
        "mailboxid",
    }
)
"""Each has its tests in `tests/unit/libs/protocols/sieve`."""

_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a message."""

    actions: tuple[Action, ...]
    """Never without an answer: nothing in it means that the script discarded the message."""
    fault: str = ""
    """Why the script broke off; then the only action is to keep the message."""
    explained: tuple[str, ...] = ()
    tracked: tuple[Tracked, ...] = ()
    """What `duplicate` is to know of this message from now on."""


@dataclass(frozen=True, slots=True)
class Script:
    """A valid script."""

    _commands: tuple[Do, ...]
    extensions: frozenset[str] = frozenset()
    """Those that it requires, also by `ihave`: what a run may need besides the header."""

    def commands(self, run: Run) -> None:
        """As `include` runs it, within the run of another script."""
        _all(self._commands, run)

    def run(
        self,
        message: Message,
        around: Surroundings,
        limits: Limits = _NO_LIMITS,
        *,
        explain: bool = False,
    ) -> Result:
        """What it asks for; never raises for what the script or the message holds."""
        run = Run(message, around, limits, explained=[] if explain else None)
        fault = ""
        try:
            _all(self._commands, run)
        except (Stop, Return):
            pass
        except RunFault as error:
            fault = str(error)
        explained = tuple(run.explained or ())
        if fault:
            return Result((Keep(implicit=True),), fault, explained)
        kept = Keep(run.flags, implicit=True)
        # RFC 5228 §2.10.3: the same mailbox twice is one copy.
        again = not run.implicit_keep or any(isinstance(one, Keep) for one in run.actions)
        actions = tuple(run.actions) if again else (*run.actions, kept)
        return Result(actions, "", explained, tuple(run.tracked))


def compile_script(text: str | bytes, supported: frozenset[str] = EXTENSIONS) -> Script:
    """The script, or a `SieveError` with the place and the reason."""
    octets = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(octets) > MAX_SCRIPT_OCTETS:
        raise SieveError(f"the script is larger than {MAX_SCRIPT_OCTETS} octets", 1, 1)
    try:
        script = octets.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise SieveError("the script is not in UTF-8", line, 1) from None
    # A byte order mark is what editors leave there.
    nodes = parse(script.removeprefix("\ufeff"))
    scope = Scope(supported)
    commands = tuple(_block(_required(nodes, scope), scope))
    return Script(commands, frozenset(scope.required))


def _required(nodes: list[Node], scope: Scope) -> list[Node]:
    """Take the `require` commands at the beginning (RFC 5228 §3.2)."""
    for n, node in enumerate(nodes):
        if node.name != "require":
            return nodes[n:]
        for name in check(node, scope, {}, ("list",)).positional[0].strings:
            if name not in scope.supported:
                raise fail(f"this server does not have the extension {name!r}", node.token)
            scope.required.add(name)
        if node.tests or node.block is not None:
            raise fail("require takes neither tests nor a block", node.token)
    return []


def _all(commands: Sequence[Do], run: Run) -> None:
    for do in commands:
        do(run)


def _block(nodes: list[Node], scope: Scope) -> list[Do]:
    made: list[Do] = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        if node.name == "if":
            chain = [node]
            while at + 1 < len(nodes) and nodes[at + 1].name in ("elsif", "else"):
                at += 1
                chain.append(nodes[at])
                if chain[-1].name == "else":
                    break
            made.append(_if(chain, scope))
        else:
            made.append(_command(node, scope))
        at += 1
    return made


def _command(node: Node, scope: Scope) -> Do:
    if node.name in ("elsif", "else"):
        raise fail(f"{node.name} without if", node.token)
    if node.name == "require":
        raise fail("require stands at the beginning of the script", node.token)
    try:
        return compile_action(node, scope)
    except SieveError as error:
        if "ihave" not in scope.required:
            raise
        return _later(str(error))


def _later(text: str) -> Do:
    """RFC 5463 §4: behind `ihave`, what is not known is a fault only if it is reached."""

    def do(_: Run) -> None:
        raise RunFault(text)

    return do


def _test(node: Node, scope: Scope) -> Check:
    if len(node.tests) != 1:
        raise fail(f"{node.name} needs one test", node.token)
    try:
        return compile_test(node.tests[0], scope)
    except SieveError as error:
        if "ihave" not in scope.required:
            raise
        return run_fault(str(error))


def _if(chain: list[Node], scope: Scope) -> Do:
    branches: list[tuple[Check | None, list[Do]]] = []
    for node in chain:
        check(node, scope, {}, ())
        if node.block is None:
            raise fail(f"{node.name} needs a block", node.token)
        if node.name == "else" and node.tests:
            raise fail("else takes no test", node.token)
        test = None if node.name == "else" else _test(node, scope)
        branches.append((test, _block(node.block, scope)))

    def do(run: Run) -> None:
        run.spend()
        for test, commands in branches:
            if test is None or test(run):
                _all(commands, run)
                return

    return do
