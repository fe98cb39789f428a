"""Arguments of commands and tests: which there are, which extension brings them."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.protocols.sieve.compare import COMPARATORS, NUMERIC
from libs.protocols.sieve.parse import Argument, Node, fail
from libs.protocols.sieve.text import (
    Text,
    WrongText,
    decode_characters,
    has_variables,
    template,
)

Tags = dict[str, tuple[str, str]]
"""tag -> (the extension that it needs or nothing, the kind of its argument or nothing)"""

MATCH: Tags = {
    "is": ("", ""),
    "contains": ("", ""),
    "matches": ("", ""),
    "regex": ("regex", ""),
    "count": ("relational", "string"),
    "value": ("relational", "string"),
    "comparator": ("", "string"),
}
ADDRESS: Tags = {
    "all": ("", ""),
    "localpart": ("", ""),
    "domain": ("", ""),
    "user": ("subaddress", ""),
    "detail": ("subaddress", ""),
}
INDEX: Tags = {"index": ("index", "number"), "last": ("index", "")}
_LONGER = {"vacation": "vacation-seconds", "spamtest": "spamtestplus"}
"""Extensions that bring another one with them (RFC 6131 §2, RFC 5235 §3.2)."""
_KINDS = {"string": ("string",), "list": ("string", "list"), "number": ("number",)}
_NAMES = {"string": "a string", "list": "a list of strings", "number": "a number"}


@dataclass(slots=True)
class Scope:
    """What `require` has brought in so far."""

    supported: frozenset[str]
    required: set[str] = field(default_factory=set)

    def need(self, extension: str, node: Node) -> None:
        """`SieveError` when the extension was not required."""
        if _LONGER.get(extension) in self.required:
            return
        if extension and extension not in self.required:
            known = "" if extension in self.supported else ", which this server does not have"
            raise fail(f'{node.name} needs require "{extension}"{known}', node.token)

    def constant(self, text: str, node: Node) -> str:
        """A string with its encoded characters decoded."""
        if "encoded-character" not in self.required or "${" not in text:
            return text
        try:
            return decode_characters(text)
        except WrongText as wrong:
            raise fail(str(wrong), node.token) from None

    def text(self, text: str, node: Node) -> str | Text:
        """A string: as it is, or as a function of the run if it has variables in it."""
        text = self.constant(text, node)
        if "variables" not in self.required or not has_variables(text):
            return text
        try:
            return template(text, "include" in self.required)
        except WrongText as wrong:
            raise fail(str(wrong), node.token) from None


@dataclass(slots=True)
class Arguments:
    """The checked arguments of one command or test."""

    node: Node
    scope: Scope
    tags: dict[str, Argument | None] = field(default_factory=dict)
    positional: list[Argument] = field(default_factory=list)

    def one_of(self, names: Tags | tuple[str, ...], default: str) -> str:
        """Which of these tags is there; two are an error (RFC 5228 §2.7.1, §2.7.4)."""
        found = [name for name in self.tags if name in names]
        if len(found) > 1:
            raise fail(f":{found[0]} and :{found[1]} exclude each other", self.node.token)
        return found[0] if found else default

    def constant(self, name: str) -> str:
        """The string behind a tag, which has no variables; empty when it is not there."""
        argument = self.tags.get(name)
        return self.scope.constant(argument.strings[0], self.node) if argument else ""

    def number(self, name: str) -> int | None:
        """The number behind a tag."""
        argument = self.tags.get(name)
        return argument.token.value if argument else None

    def texts(self, n: int) -> list[str | Text]:
        """The strings of the n-th argument."""
        return [self.scope.text(one, self.node) for one in self.positional[n].strings]

    def text(self, n: int) -> str | Text:
        """The string that is the n-th argument."""
        return self.texts(n)[0]

    def comparator(self) -> str:
        """The name of the comparator (RFC 5228 §2.7.3)."""
        name = self.constant("comparator") or "i;ascii-casemap"
        if name not in COMPARATORS and name != NUMERIC:
            raise fail(f"unknown comparator {name!r}", self.node.token)
        if name not in ("i;octet", "i;ascii-casemap"):
            self.scope.need(f"comparator-{name}", self.node)
        return name


def check(node: Node, scope: Scope, tags: Tags, kinds: tuple[str, ...]) -> Arguments:
    """The arguments of a node, or a `SieveError` that says what is expected."""
    result = Arguments(node, scope)
    pending = list(node.arguments)
    while pending:
        argument = pending.pop(0)
        if argument.kind == "tag":
            _tag(result, argument, pending, tags)
        else:
            result.positional.append(argument)
    _positional(result, kinds)
    return result


def _tag(result: Arguments, argument: Argument, pending: list[Argument], tags: Tags) -> None:
    name, node = argument.token.text, result.node
    if name not in tags:
        raise fail(f"{node.name} has no :{name}", argument.token)
    if name in result.tags:
        raise fail(f":{name} is given twice", argument.token)
    extension, kind = tags[name]
    result.scope.need(extension, Node(f":{name}", argument.token))
    if not kind:
        result.tags[name] = None
        return
    if not pending or pending[0].kind not in _KINDS[kind]:
        raise fail(f":{name} needs {_NAMES[kind]}", argument.token)
    result.tags[name] = pending.pop(0)


def _positional(result: Arguments, kinds: tuple[str, ...]) -> None:
    found, node = result.positional, result.node
    for kind, argument in zip(kinds, found, strict=False):
        if argument.kind not in _KINDS[kind]:
            raise fail(f"{node.name} expects {_NAMES[kind]} here", argument.token)
    if len(found) != len(kinds):
        wanted = ", then ".join(_NAMES[kind] for kind in kinds) or "no argument"
        where = found[len(kinds)].token if len(found) > len(kinds) else node.token
        raise fail(f"{node.name} takes {wanted}", where)
