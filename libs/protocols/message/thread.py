"""Threading: which messages belong together (RFC 5256 §3, draft-ietf-morg-inthread)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Threaded:
    """What threading needs to know of a message."""

    number: int
    """As the response names it."""
    date: float
    """When it was sent, in UTC."""
    message_id: str = ""
    references: tuple[str, ...] = ()
    """The oldest first; In-Reply-To when there are none."""
    subject: str = ""
    """The base subject."""
    replied: bool = False
    """Its subject says that it is a reply, or forwarded."""


@dataclass(slots=True, eq=False)
class Node:
    """A message in its thread, or a gap where one is missing."""

    message: Threaded | None = None
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    def key(self) -> tuple[float, int]:
        """Siblings are in the order of when they were sent; a gap counts as its first child."""
        node = self
        while node.message is None and node.children:
            node = node.children[0]
        return (node.message.date, node.message.number) if node.message else (0.0, 0)


def ordered_subject(messages: Iterable[Threaded]) -> list[Node]:
    """By base subject; the first one is the parent of all others (RFC 5256 §3)."""
    threads: dict[str, Node] = {}
    for message in sorted(messages, key=lambda m: (m.date, m.number)):
        root = threads.setdefault(message.subject, Node(message))
        if root.message is not message:
            root.children.append(Node(message, root))
    return sorted(threads.values(), key=Node.key)


def references(messages: Sequence[Threaded]) -> list[Node]:
    """By References, then roots with one subject together (RFC 5256 §3, REFERENCES)."""
    return _sorted(_by_subject(_sorted(_pruned(_linked(messages)))))


def refs(messages: Sequence[Threaded]) -> list[Node]:
    """By References alone; threads in the order of their newest message (THREAD=REFS)."""
    roots = _sorted(_pruned(_linked(messages)))
    return sorted(roots, key=_newest)


def _linked(messages: Sequence[Threaded]) -> list[Node]:
    """Step 1 and 2: link each message below the last of its references."""
    nodes: dict[str, Node] = {}
    found: list[Node] = []
    for message in messages:
        node = nodes.get(message.message_id) if message.message_id else None
        if node is None or node.message is not None:
            # Without a Message-ID, or with one that another message has, it stands alone.
            node = Node()
            if message.message_id and message.message_id not in nodes:
                nodes[message.message_id] = node
        node.message = message
        found.append(node)
        parent = None
        for name in message.references:
            step = nodes.setdefault(name, Node())
            if step.parent is None and parent is not None and not _is_above(step, parent):
                _attach(step, parent)
            parent = step
        if parent is not None and parent is not node and not _is_above(node, parent):
            _detach(node)
            _attach(node, parent)
    every = dict.fromkeys([*found, *nodes.values()])
    return [node for node in every if node.parent is None]


def _is_above(node: Node, other: Node) -> bool:
    """Is `node` the other one, or above it?  Linking would close a circle then."""
    if not node.children:
        return node is other
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False


def _attach(node: Node, parent: Node) -> None:
    node.parent = parent
    parent.children.append(node)


def _detach(node: Node) -> None:
    if node.parent is not None:
        node.parent.children.remove(node)
        node.parent = None


def _postorder(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node after those below it; no recursion, for threads may be thousands deep."""
    waiting = list(roots)
    order: list[Node] = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(node.children)
    return reversed(order)


def _pruned(roots: list[Node]) -> list[Node]:
    """Step 3: gaps without children go, those with children give way to them.

    A gap at the root stays when it holds several together.
    """
    top = Node(children=roots)
    for node in list(_postorder(roots)):
        kept: list[Node] = []
        for child in node.children:
            kept.extend(child.children if child.message is None else [child])
        node.children = kept
        for child in kept:
            child.parent = node
    for root in roots:
        if root.message is None and len(root.children) == 1:
            root.children[0].parent = None
    return [
        root.children[0] if root.message is None and len(root.children) == 1 else root
        for root in top.children
        if root.message is not None or root.children
    ]


def _sorted(roots: list[Node]) -> list[Node]:
    """Steps 4 and 6: siblings by the time they were sent."""
    for node in _postorder(roots):
        node.children.sort(key=Node.key)
    return sorted(roots, key=Node.key)


def _subject_of(root: Node) -> Threaded | None:
    return root.message or (root.children[0].message if root.children else None)


def _by_subject(roots: list[Node]) -> list[Node]:
    """Step 5: roots with the same base subject become one thread."""
    table: dict[str, Node] = {}
    for root in roots:
        about = _subject_of(root)
        if about is None or not about.subject:
            continue
        known = table.get(about.subject)
        if known is None or _better(root, known):
            table[about.subject] = root
    merged: list[Node] = []
    for root in roots:
        if root.parent is not None:
            continue  # It is in a thread already.
        about = _subject_of(root)
        head = table.get(about.subject) if about is not None and about.subject else None
        if head is None or head is root:
            merged.append(root)
        else:
            _merge(root, head, merged, table)
    return merged


def _better(root: Node, known: Node) -> bool:
    """Is this a better head of its subject: a gap, or no reply where the other is one?"""
    if (root.message is None) != (known.message is None):
        return root.message is None
    first, second = _subject_of(root), _subject_of(known)
    return bool(first and second and second.replied and not first.replied)


def _merge(root: Node, head: Node, merged: list[Node], table: dict[str, Node]) -> None:
    if head.message is None and root.message is None:
        for child in root.children:
            _attach(child, head)
    elif head.message is None or (
        root.message is not None and root.message.replied and not head.message.replied
    ):
        _attach(root, head)
    else:
        both = Node(children=[head, root])
        assert head.message is not None
        table[head.message.subject] = both
        if head in merged:
            merged[merged.index(head)] = both
        else:
            merged.append(both)
        head.parent = root.parent = both


def _newest(root: Node) -> tuple[float, int]:
    return max(
        (node.message.date, node.message.number)
        for node in _postorder([root])
        if node.message is not None
    )


ALGORITHMS: dict[str, Callable[[Sequence[Threaded]], list[Node]]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
    "REFS": refs,
}


def thread_text(roots: Sequence[Node]) -> bytes:
    """The threads as a THREAD response lists them: `(2)(3 6 (4 23)(44 7 96))`."""
    out: list[str] = []
    # Strings are written as they are; a node opens a parenthesis only where the thread branches.
    waiting: list[Node | str] = [item for root in reversed(roots) for item in (")", root, "(")]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        if item.message is not None:
            if out and out[-1] not in "(":
                out.append(" ")
            out.append(str(item.message.number))
        if len(item.children) == 1 and item.message is not None:
            waiting.append(item.children[0])
        else:
            if item.children and item.message is not None:
                out.append(" ")
            for child in reversed(item.children):
                waiting.extend((")", child, "("))
    return "".join(out).encode()
