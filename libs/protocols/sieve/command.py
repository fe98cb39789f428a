"""The actions (RFC 5228 §4 and extensions): each is compiled to a function of the run."""

from __future__ import annotations

import re
from collections.abc import Callable

from libs.protocols.sieve.action import Action, Discard, FileInto, Keep, Redirect, Reject
from libs.protocols.sieve.arguments import Arguments, Scope, Tags, check
from libs.protocols.sieve.condition import strings_of
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.flags import flag_list, keep_flags, split_flags, variable_of
from libs.protocols.sieve.include import compile_global, compile_include, compile_return
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import Do, Run, Stop
from libs.protocols.sieve.text import PRECEDENCE, Text, modify
from libs.protocols.sieve.vacation import compile_vacation

MAX_MAILBOX_OCTETS = 1_024
_ADDRESS = re.compile(r"[^\s<>()\[\]\",;:\\@\x00-\x1f]{1,64}@[A-Za-z0-9\x80-\U0010ffff.-]{1,253}")
_FLAGS: Tags = {"flags": ("imap4flags", "list")}
_COPY: Tags = {"copy": ("copy", "")}
EXTENSION_OF = {
    "fileinto": "fileinto",
    "reject": "reject",
    "ereject": "ereject",
    "set": "variables",
    "setflag": "imap4flags",
    "addflag": "imap4flags",
    "removeflag": "imap4flags",
    "error": "ihave",
    "vacation": "vacation",
    "include": "include",
    "return": "include",
    "global": "include",
}


def compile_action(node: Node, scope: Scope) -> Do:
    """The action, or a `SieveError`."""
    make = _ACTIONS.get(node.name)
    if make is None:
        raise fail(f"there is no command {node.name!r}", node.token)
    scope.need(EXTENSION_OF.get(node.name, ""), node)
    if node.tests or node.block is not None:
        raise fail(f"{node.name} takes neither tests nor a block", node.token)
    inner = make(node, scope)
    line, name = node.token.line, node.name

    def do(run: Run) -> None:
        run.spend()
        run.explain(line, name)
        inner(run)

    return do


def _expand(text: str | Text, run: Run) -> str:
    return text if isinstance(text, str) else text(run)


def _flags(arguments: Arguments) -> Callable[[Run], tuple[str, ...]]:
    """The flags of `:flags`, else those of the internal variable (RFC 5232 §5)."""
    argument = arguments.tags.get("flags")
    if argument is None:
        return lambda run: run.flags
    texts = strings_of([arguments.scope.text(one, arguments.node) for one in argument.strings])
    return lambda run: split_flags(texts(run))


def _keep(node: Node, scope: Scope) -> Do:
    flags = _flags(check(node, scope, _FLAGS, ()))
    return lambda run: run.act(Keep(flags(run)))


def _discard(node: Node, scope: Scope) -> Do:
    check(node, scope, {}, ())
    return lambda run: run.act(Discard())


def _stop(node: Node, scope: Scope) -> Do:
    check(node, scope, {}, ())

    def stop(_: Run) -> None:
        raise Stop

    return stop


def _fileinto(node: Node, scope: Scope) -> Do:
    tags = {
        **_FLAGS,
        **_COPY,
        "create": ("mailbox", ""),
        "specialuse": ("special-use", "string"),
        "mailboxid": ("mailboxid", "string"),
    }
    arguments = check(node, scope, tags, ("string",))
    name, flags = arguments.text(0), _flags(arguments)
    create, copy = "create" in arguments.tags, "copy" in arguments.tags
    arguments.one_of(("specialuse", "mailboxid"), "")
    use, number = arguments.constant("specialuse"), arguments.constant("mailboxid")
    if isinstance(name, str):
        wrong = _wrong_mailbox(name)
        if wrong:
            raise fail(wrong, arguments.positional[0].token)

    def do(run: Run) -> None:
        mailbox = _expand(name, run)
        wrong = _wrong_mailbox(mailbox)
        if wrong:
            raise RunFault(wrong)
        # RFC 9042 §4, RFC 8579 §4: the name is for when there is no such mailbox.
        mailbox = run.around.mailbox_ids.get(number, mailbox)
        for one, its in run.around.special_uses.items():
            if use and its.lower() == use.lower():
                mailbox = one
        run.act(FileInto(mailbox, flags(run), create, use if create else ""), keeps=copy)

    return do


def _wrong_mailbox(name: str) -> str:
    if not name or len(name.encode("utf-8", "replace")) > MAX_MAILBOX_OCTETS:
        return f"a mailbox's name has 1 to {MAX_MAILBOX_OCTETS} octets"
    return "" if name.isprintable() else "a mailbox's name has no control characters"


def _redirect(node: Node, scope: Scope) -> Do:
    arguments = check(node, scope, _COPY, ("string",))
    address, copy = arguments.text(0), "copy" in arguments.tags
    if isinstance(address, str) and not _ADDRESS.fullmatch(address):
        raise fail(f"{address!r} is not an address", arguments.positional[0].token)

    def do(run: Run) -> None:
        target = _expand(address, run)
        if not _ADDRESS.fullmatch(target):
            raise RunFault(f"redirect: {target[:200]!r} is not an address")
        run.act(Redirect(target), keeps=copy)

    return do


def _reject(node: Node, scope: Scope) -> Do:
    reason = check(node, scope, {}, ("string",)).text(0)
    extended = node.name == "ereject"

    def do(run: Run) -> None:
        if any(isinstance(one, Reject) for one in run.actions):
            raise RunFault("reject twice")
        action: Action = Reject(_expand(reason, run)[: run.limits.variable_characters], extended)
        run.act(action)

    return do


def _set(node: Node, scope: Scope) -> Do:
    tags = {
        name: ("regex" if name == "quoteregex" else "", "")
        for name in PRECEDENCE
    }  # fmt: skip
    arguments = check(node, scope, tags, ("string", "string"))
    name, value = variable_of(arguments.positional[0].strings[0], scope, node), arguments.text(1)
    modifiers = frozenset(arguments.tags)
    levels = [PRECEDENCE[one] for one in modifiers]
    if len(levels) != len(set(levels)):
        raise fail("two modifiers of the same precedence", node.token)
    return lambda run: run.set(name, modify(_expand(value, run), modifiers))


def _flag_command(node: Node, scope: Scope) -> Do:
    named = len(node.arguments) > 1
    arguments = check(node, scope, {}, ("string", "list") if named else ("list",))
    name = variable_of(arguments.positional[0].strings[0], scope, node) if named else ""
    texts, change = strings_of(arguments.texts(int(named))), node.name

    def do(run: Run) -> None:
        given, before = split_flags(texts(run)), flag_list(run, name)
        if change == "addflag":
            given = split_flags([*before, *given])
        elif change == "removeflag":
            gone = {one.lower() for one in given}
            given = tuple(one for one in before if one.lower() not in gone)
        keep_flags(run, name, given)

    return do


def _error(node: Node, scope: Scope) -> Do:
    text = check(node, scope, {}, ("string",)).text(0)

    def do(run: Run) -> None:
        raise RunFault(_expand(text, run)[:500])

    return do


_ACTIONS: dict[str, Callable[[Node, Scope], Do]] = {
    "keep": _keep,
    "discard": _discard,
    "stop": _stop,
    "fileinto": _fileinto,
    "redirect": _redirect,
    "reject": _reject,
    "ereject": _reject,
    "set": _set,
    "setflag": _flag_command,
    "addflag": _flag_command,
    "removeflag": _flag_command,
    "error": _error,
    "vacation": compile_vacation,
    "include": compile_include,
    "return": compile_return,
    "global": compile_global,
}
