"""Flags in variables (RFC 5232 §2): space-joined, no duplicates, system flags known by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from libs.protocols.sieve.arguments import Scope
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import GLOBAL, Run

MAX_FLAGS = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]{1,128}")
_SYSTEM = {f"\\{name.lower()}": f"\\{name}" for name in (
    "Seen", "Answered", "Flagged", "Deleted", "Draft",
)}  # fmt: skip


def variable_of(text: str, scope: Scope, node: Node) -> str:
    """The name of a variable in lower case, or a `SieveError`."""
    own = text.lower().removeprefix(GLOBAL) if "include" in scope.required else text
    if not _NAME.fullmatch(own):
        raise fail(f"{text!r} is not the name of a variable", node.token)
    if "variables" not in scope.required:
        # RFC 5232 §3: a variable's name needs the variables extension.
        raise fail(f'{node.name} with a variable needs require "variables"', node.token)
    return text.lower()


def split_flags(texts: Iterable[str]) -> tuple[str, ...]:
    """The flags of strings, each of which may name several; what is no flag is passed over."""
    found: dict[str, str] = {}
    for word in (word for text in texts for word in text.split(" ")):
        flag = _SYSTEM.get(word.lower()) or (word if _KEYWORD.fullmatch(word) else "")
        if flag:
            found.setdefault(flag.lower(), flag)
    return tuple(found.values())[:MAX_FLAGS]


def flag_list(run: Run, name: str) -> tuple[str, ...]:
    """The flags in a variable; without a name, in the internal one."""
    return split_flags([run.get(name)]) if name else run.flags


def keep_flags(run: Run, name: str, flags: tuple[str, ...]) -> None:
    """Set the variable, or the internal one."""
    if name:
        run.set(name, " ".join(flags))
    else:
        run.flags = flags
