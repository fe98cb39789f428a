"""The grammar (RFC 5228 §8.2): a script as commands, whatever these mean.

Blocks and tests nest at most `MAX_NESTING` deep, so that no script exhausts our stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.lexer import Token, tokens

MAX_NESTING = 32
"""RFC 5228 §2.10.5 asks for 15 at least."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A tag, a number, or strings; a lone string is a list of one (RFC 5228 §2.4.2.1)."""

    kind: str
    """`tag`, `number`, `string` or `list`."""
    token: Token
    strings: tuple[str, ...] = ()


@dataclass(slots=True)
class Node:
    """A command or a test."""

    name: str
    token: Token
    arguments: list[Argument] = field(default_factory=list)
    tests: list[Node] = field(default_factory=list)
    block: list[Node] | None = None
    """None: it has none."""


def fail(text: str, token: Token) -> SieveError:
    """The error at this word."""
    return SieveError(text, token.line, token.column)


def parse(script: str) -> list[Node]:
    """The commands of a script; `SieveError` says where it is not well-formed."""
    parser = _Parser(tokens(script))
    commands = parser.commands(0)
    parser.expect("end", "", "a command")
    return commands


class _Parser:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0

    @property
    def _next(self) -> Token:
        return self._words[self._at]

    def _is(self, mark: str) -> bool:
        return self._next.kind == "mark" and self._next.text == mark

    def _take(self, mark: str) -> bool:
        found = self._is(mark)
        self._at += found
        return found

    def expect(self, kind: str, text: str, what: str) -> Token:
        token = self._next
        if token.kind != kind or (text and token.text != text):
            seen = repr(token.text) if token.text else "the end of the script"
            raise fail(f"expected {what}, found {seen}", token)
        self._at += 1
        return token

    def commands(self, depth: int) -> list[Node]:
        found = []
        while self._next.kind == "word":
            found.append(self._command(depth))
        return found

    def _command(self, depth: int) -> Node:
        node = self._node(depth)
        if self._take("{"):
            node.block = self.commands(depth + 1)
            self.expect("mark", "}", "a command or '}'")
        else:
            self.expect("mark", ";", f"';' or '{{' after {node.name}")
        return node

    def _node(self, depth: int) -> Node:
        token = self.expect("word", "", "a test")
        if depth > MAX_NESTING:
            raise fail(f"blocks and tests are nested deeper than {MAX_NESTING}", token)
        node = Node(token.text, token)
        while (argument := self._argument()) is not None:
            node.arguments.append(argument)
        if self._next.kind == "word":
            node.tests.append(self._node(depth + 1))
        elif self._take("("):
            node.tests.append(self._node(depth + 1))
            while self._take(","):
                node.tests.append(self._node(depth + 1))
            self.expect("mark", ")", "',' or ')'")
        return node

    def _argument(self) -> Argument | None:
        token = self._next
        if token.kind in ("tag", "number"):
            self._at += 1
            return Argument(token.kind, token)
        if token.kind == "string":
            self._at += 1
            return Argument("string", token, (token.text,))
        if not self._take("["):
            return None
        strings = [self.expect("string", "", "a string").text]
        while self._take(","):
            strings.append(self.expect("string", "", "a string").text)
        self.expect("mark", "]", "',' or ']'")
        return Argument("list", token, tuple(strings))
