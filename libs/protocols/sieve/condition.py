"""The tests (RFC 5228 §5 and extensions): each is compiled to a function of the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from libs.protocols.message.date import parse_date
from libs.protocols.sieve.arguments import ADDRESS, INDEX, MATCH, Arguments, Scope, check
from libs.protocols.sieve.date import PARTS, part_of, zone_minutes
from libs.protocols.sieve.duplicate import compile_duplicate
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.flags import flag_list, variable_of
from libs.protocols.sieve.matcher import Matcher, matcher
from libs.protocols.sieve.message import Halves
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import Check, Run
from libs.protocols.sieve.spam import compile_spamtest
from libs.protocols.sieve.special import compile_mailbox_ids, compile_special_use
from libs.protocols.sieve.text import Text

_FIELD = re.compile(r"[!-9;-~]+")
Names = Callable[[Run], list[str]]
EXTENSION_OF = {
    "envelope": "envelope",
    "body": "body",
    "date": "date",
    "currentdate": "date",
    "string": "variables",
    "hasflag": "imap4flags",
    "mailboxexists": "mailbox",
    "environment": "environment",
    "ihave": "ihave",
    "duplicate": "duplicate",
    "specialuse_exists": "special-use",
    "mailboxidexists": "mailboxid",
    "spamtest": "spamtest",
}


def compile_test(node: Node, scope: Scope) -> Check:
    """The test, or a `SieveError`."""
    make = _TESTS.get(node.name)
    if make is None:
        raise fail(f"there is no test {node.name!r}", node.token)
    scope.need(EXTENSION_OF.get(node.name, ""), node)
    if node.tests and node.name not in ("not", "allof", "anyof"):
        raise fail(f"{node.name} takes no tests", node.tests[0].token)
    inner = make(node, scope)
    line, name = node.token.line, node.name

    def run_test(run: Run) -> bool:
        run.spend()
        result = inner(run)
        if run.explained is not None:
            run.explain(line, f"{name} is {'true' if result else 'false'}")
        return result

    return run_test


def strings_of(texts: Sequence[str | Text]) -> Names:
    """A list of strings as a function of the run."""
    if all(isinstance(one, str) for one in texts):
        known = [one for one in texts if isinstance(one, str)]
        return lambda _: known
    return lambda run: [one if isinstance(one, str) else one(run) for one in texts]


def _field_names(arguments: Arguments, n: int) -> Names:
    texts = arguments.texts(n)
    for one in texts:
        if isinstance(one, str) and not _FIELD.fullmatch(one):
            raise fail(f"{one!r} is not the name of a header field", arguments.positional[n].token)
    lower = [one.lower() if isinstance(one, str) else one for one in texts]
    names = strings_of(lower)
    if all(isinstance(one, str) for one in lower):
        return names
    return lambda run: [one.lower() for one in names(run)]


def _quantified(node: Node, scope: Scope, every: bool) -> Check:
    check(node, scope, {}, ())
    if not node.tests:
        raise fail(f"{node.name} needs tests in parentheses", node.token)
    tests = [compile_test(one, scope) for one in node.tests]
    if every:
        return lambda run: all(one(run) for one in tests)
    return lambda run: any(one(run) for one in tests)


def _not(node: Node, scope: Scope) -> Check:
    check(node, scope, {}, ())
    if len(node.tests) != 1:
        raise fail("not needs one test", node.token)
    test = compile_test(node.tests[0], scope)
    return lambda run: not test(run)


def _constant(value: bool) -> Callable[[Node, Scope], Check]:
    def make(node: Node, scope: Scope) -> Check:
        check(node, scope, {}, ())
        return lambda _: value

    return make


def _size(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, {"over": ("", ""), "under": ("", "")}, ("number",))
    way = arguments.one_of(("over", "under"), "")
    if not way:
        raise fail("size needs :over or :under", node.token)
    limit = arguments.positional[0].token.value
    if way == "over":
        return lambda run: run.message.size > limit
    return lambda run: run.message.size < limit


def _exists(node: Node, scope: Scope) -> Check:
    names = _field_names(check(node, scope, {}, ("list",)), 0)
    return lambda run: all(run.message.texts(name) for name in names(run))


def _picker(arguments: Arguments) -> slice | None:
    """Which of several fields `:index` and `:last` mean (RFC 5260 §6); None: all."""
    index, last = arguments.number("index"), "last" in arguments.tags
    if index is None:
        if last:
            raise fail(":last needs :index", arguments.node.token)
        return None
    if index == 0:
        raise fail(":index counts from 1", arguments.node.token)
    return slice(-index, -index + 1 or None) if last else slice(index - 1, index)


def _header(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, {**MATCH, **INDEX}, ("list", "list"))
    names, match = _field_names(arguments, 0), matcher(arguments, arguments.texts(1))
    pick = _picker(arguments)
    if match.counts or pick is not None:

        def counted(run: Run) -> bool:
            everything = slice(None) if pick is None else pick
            values = [v for name in names(run) for v in run.message.texts(name)[everything]]
            return match.matches(run, values)

        return counted
    normal = match.normal

    def test(run: Run) -> bool:
        for name in names(run):
            values = run.message.texts(name)
            ready = run.message.normal(name, normal) if normal and values else None
            if values and match.matches(run, values, ready):
                return True
        return False

    return test


def _part(run: Run, address: Halves, part: str) -> str | None:
    if part == "all":
        return address.whole
    if not address.domain and address.local_part:
        # RFC 5228 §2.7.4: what is no address has no parts.
        return None
    if part == "localpart":
        return address.local_part
    if part == "domain":
        return address.domain
    user, detail = run.user_and_detail(address)
    return user if part == "user" else detail


def _address_test(
    arguments: Arguments, find: Callable[[Run], list[Halves]], match: Matcher
) -> Check:
    part = arguments.one_of(ADDRESS, "all")

    def test(run: Run) -> bool:
        parts = [_part(run, one, part) for one in find(run)]
        return match.matches(run, [one for one in parts if one is not None])

    return test


def _address(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, {**MATCH, **ADDRESS, **INDEX}, ("list", "list"))
    names = _field_names(arguments, 0)
    pick = _picker(arguments)

    def find(run: Run) -> list[Halves]:
        everything = slice(None) if pick is None else pick
        return [a for name in names(run) for a in run.message.addresses(name)[everything]]

    return _address_test(arguments, find, matcher(arguments, arguments.texts(1)))


def _halves(path: str) -> Halves:
    local_part, _, domain = path.rpartition("@")
    return Halves(local_part, domain) if local_part else Halves(domain, "")


def _envelope(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, {**MATCH, **ADDRESS}, ("list", "list"))
    parts = [one.lower() for one in arguments.texts(0) if isinstance(one, str)]
    for part in parts:
        if part not in ("from", "to"):
            # RFC 5228 §5.4: an unknown part is an error.
            raise fail(f"envelope has no part {part!r}; it has from and to", node.token)
    if len(parts) != len(arguments.positional[0].strings):
        raise fail("the envelope's parts cannot be variables", node.token)

    def find(run: Run) -> list[Halves]:
        around = run.around
        return [_halves(around.reverse_path if p == "from" else around.recipient) for p in parts]

    return _address_test(arguments, find, matcher(arguments, arguments.texts(1)))


def _body(node: Node, scope: Scope) -> Check:
    tags = {**MATCH, "raw": ("", ""), "text": ("", ""), "content": ("", "list")}
    arguments = check(node, scope, tags, ("list",))
    kind = arguments.one_of(("raw", "text", "content"), "text")
    match = matcher(arguments, arguments.texts(0))
    content = arguments.tags.get("content")
    kinds = list(content.strings) if content else []

    def test(run: Run) -> bool:
        if kind == "raw":
            values = [run.message.raw_body()]
        elif kind == "text":
            values = run.message.text_bodies()
        else:
            values = run.message.content_bodies(kinds)
        captured = run.captured
        result = match.matches(run, values)
        # RFC 5173 §6: a body test sets no match variables.
        run.captured = captured
        return result

    return test


def _date_part(arguments: Arguments, n: int) -> str:
    text = arguments.text(n)
    part = text.lower() if isinstance(text, str) else ""
    if part not in PARTS:
        raise fail(f"unknown date part; there are {', '.join(PARTS)}", arguments.node.token)
    return part


def _zone_of(arguments: Arguments) -> int | None:
    if "zone" not in arguments.tags:
        return None
    zone = zone_minutes(arguments.constant("zone"))
    if zone is None:
        raise fail(":zone needs an offset like +0100", arguments.node.token)
    return zone


def _date(node: Node, scope: Scope) -> Check:
    tags = {**MATCH, **INDEX, "zone": ("", "string"), "originalzone": ("", "")}
    arguments = check(node, scope, tags, ("string", "string", "list"))
    original = arguments.one_of(("zone", "originalzone"), "") == "originalzone"
    names, part, zone = _field_names(arguments, 0), _date_part(arguments, 1), _zone_of(arguments)
    match, pick = matcher(arguments, arguments.texts(2)), _picker(arguments)

    def test(run: Run) -> bool:
        found = run.message.texts(names(run)[0])
        values = []
        # RFC 5260 §4: without :index, the first field of this name.
        for text in found[slice(0, 1) if pick is None else pick]:
            # Received has its date behind the last semicolon.
            moment = parse_date(text.rpartition(";")[2])
            if moment is not None:
                here = run.around.zone if zone is None else zone
                values.append(part_of(moment.epoch, moment.zone if original else here, part))
        return match.matches(run, values)

    return test


def _currentdate(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, {**MATCH, "zone": ("", "string")}, ("string", "list"))
    part, zone = _date_part(arguments, 0), _zone_of(arguments)
    match = matcher(arguments, arguments.texts(1))

    def test(run: Run) -> bool:
        here = run.around.zone if zone is None else zone
        return match.matches(run, [part_of(run.around.now, here, part)])

    return test


def _string(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, MATCH, ("list", "list"))
    sources, match = strings_of(arguments.texts(0)), matcher(arguments, arguments.texts(1))

    def test(run: Run) -> bool:
        values = sources(run)
        # RFC 5229 §5: :count counts the strings that are not empty.
        return match.matches(run, [one for one in values if one] if match.counts else values)

    return test


def _hasflag(node: Node, scope: Scope) -> Check:
    named = sum(one.kind in ("string", "list") for one in node.arguments)
    named -= sum(one.kind == "tag" and one.token.text in _WITH_STRING for one in node.arguments)
    kinds = ("list", "list") if named > 1 else ("list",)
    arguments = check(node, scope, MATCH, kinds)
    variables = [""]
    if named > 1:
        variables = [variable_of(n, scope, node) for n in arguments.positional[0].strings]
    match = matcher(arguments, arguments.texts(len(kinds) - 1))

    def test(run: Run) -> bool:
        values = [flag for name in variables for flag in flag_list(run, name)]
        return match.matches(run, values)

    return test


_WITH_STRING = ("comparator", "count", "value")


def _mailboxexists(node: Node, scope: Scope) -> Check:
    names = strings_of(check(node, scope, {}, ("list",)).texts(0))
    return lambda run: all(run.around.mailbox_exists(name) for name in names(run))


def _environment(node: Node, scope: Scope) -> Check:
    arguments = check(node, scope, MATCH, ("string", "list"))
    name, match = arguments.text(0), matcher(arguments, arguments.texts(1))

    def test(run: Run) -> bool:
        key = name if isinstance(name, str) else name(run)
        value = run.around.items.get(key.lower())
        # RFC 5183 §4: an unknown item makes the test false.
        return value is not None and match.matches(run, [value])

    return test


def _ihave(node: Node, scope: Scope) -> Check:
    wanted = set(check(node, scope, {}, ("list",)).positional[0].strings)
    there = wanted <= scope.supported
    if there:
        # RFC 5463 §4: from here on it is as if they were required.
        scope.required |= wanted
    return lambda _: there


def run_fault(text: str) -> Check:
    """A test that cannot be made; what depends on it fails only if it is reached (RFC 5463 §4)."""

    def test(_: Run) -> bool:
        raise RunFault(text)

    return test


_TESTS: dict[str, Callable[[Node, Scope], Check]] = {
    "allof": lambda node, scope: _quantified(node, scope, True),
    "anyof": lambda node, scope: _quantified(node, scope, False),
    "not": _not,
    "true": _constant(True),
    "false": _constant(False),
    "size": _size,
    "exists": _exists,
    "header": _header,
    "address": _address,
    "envelope": _envelope,
    "body": _body,
    "date": _date,
    "currentdate": _currentdate,
    "string": _string,
    "hasflag": _hasflag,
    "mailboxexists": _mailboxexists,
    "environment": _environment,
    "ihave": _ihave,
    "duplicate": compile_duplicate,
    "specialuse_exists": compile_special_use,
    "mailboxidexists": compile_mailbox_ids,
    "spamtest": compile_spamtest,
}
