"""One script at work on one message: its variables, its flags, and what it may still cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from libs.protocols.sieve.action import (
    Action,
    Discard,
    FileInto,
    Keep,
    Redirect,
    Reject,
    Vacation,
)
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.message import Halves, Message

Check = Callable[["Run"], bool]
Do = Callable[["Run"], None]
GLOBAL = "global."
"""The namespace of variables that scripts share (RFC 6609 §3.4.2)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may cost."""

    steps: int = 100_000
    """Tests, actions, and one more for each 256 characters that are compared."""
    seconds: float = 1.0
    actions: int = 32
    redirects: int = 4
    variable_characters: int = 4_000
    """RFC 5229 §3 asks for 4000 at least; what is longer is cut."""
    variables: int = 128


@dataclass(frozen=True, slots=True)
class Tracked:
    """An id that `duplicate` asked for; it is noted when the script has come to its end."""

    key: str
    seconds: int
    last: bool
    """The period begins anew with each message."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a script may ask for besides the message."""

    reverse_path: str = ""
    recipient: str = ""
    now: float = 0.0
    """Seconds since the epoch."""
    zone: int = 0
    """Minutes east of UTC, for `date` without `:zone`."""
    separator: str = "+"
    """Between user and detail (RFC 5233)."""
    items: Mapping[str, str] = field(default_factory=dict)
    """Of the environment test (RFC 5183 §4.1)."""
    mailbox_exists: Callable[[str], bool] = lambda _: False
    special_uses: Mapping[str, str] = field(default_factory=dict)
    """Name of a mailbox -> its use, of those that have one (RFC 6154)."""
    mailbox_ids: Mapping[str, str] = field(default_factory=dict)
    """MAILBOXID -> name (RFC 8474)."""
    seen: Callable[[str], bool] = lambda _: False
    """Was this id noted before?"""
    spam: float | None = None
    """How surely it is spam, from 0 to 1; None: nobody has looked."""
    included: Callable[[str], Do | None] = lambda _: None
    """The commands of another script of this owner, or None; raises `RunFault` for a broken one."""
    clock: Callable[[], float] = lambda: 0.0
    """Monotonic seconds, for the time limit."""


class Stop(Exception):
    """`stop`: the end of the script, and no error."""


@dataclass(slots=True)
class Run:
    """The state of one run."""

    message: Message
    around: Surroundings
    limits: Limits = Limits()
    actions: list[Action] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    captured: list[str] = field(default_factory=list)
    """`${0}`, `${1}`, ... of the last match (RFC 5229 §3.2)."""
    flags: tuple[str, ...] = ()
    """RFC 5232 §2: the internal variable."""
    implicit_keep: bool = True
    tracked: list[Tracked] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    """Variables that this script shares with others (RFC 6609 §3.4)."""
    shared: dict[str, str] = field(default_factory=dict)
    included: list[str] = field(default_factory=list)
    """Names of the scripts that were included so far, and of those that run just now."""
    within: list[str] = field(default_factory=list)
    explained: list[str] | None = None
    """Each test and action with its answer; None: nobody asked."""
    _steps: int = 0
    _deadline: float | None = None
    _checked: int = 0

    def spend(self, characters: int = 0) -> None:
        """Pay for a step; `RunFault` when the script has cost too much."""
        self._steps += 1 + (characters >> 8)
        if self._steps > self.limits.steps:
            raise RunFault(f"the script took more than {self.limits.steps} steps")
        if self._steps >= self._checked:
            self._checked = self._steps + 64
            now = self.around.clock()
            if self._deadline is None:
                self._deadline = now + self.limits.seconds
            elif now > self._deadline:
                raise RunFault(f"the script took longer than {self.limits.seconds} s")

    def explain(self, line: int, text: str) -> None:
        """For the trace."""
        if self.explained is not None:
            self.explained.append(f"line {line}: {text}")

    def set(self, name: str, value: str) -> None:
        """A variable; names have no case (RFC 5229 §3)."""
        key, store = self._place(name)
        if key not in store and len(store) >= self.limits.variables:
            raise RunFault(f"more than {self.limits.variables} variables")
        store[key] = value[: self.limits.variable_characters]

    def get(self, name: str) -> str:
        """The value of a variable; empty when it was never set."""
        key, store = self._place(name)
        return store.get(key, "")

    def _place(self, name: str) -> tuple[str, dict[str, str]]:
        if name.startswith(GLOBAL):
            return name.removeprefix(GLOBAL), self.shared
        return name, self.shared if name in self.global_names else self.variables

    def act(self, action: Action, *, keeps: bool = False) -> None:
        """Note an action; `keeps`: the implicit keep stays."""
        if not isinstance(action, Discard):
            self._agree(action)
            if action not in self.actions:
                self.actions.append(action)
        if len(self.actions) > self.limits.actions:
            raise RunFault(f"more than {self.limits.actions} actions")
        redirects = sum(isinstance(one, Redirect) for one in self.actions)
        if redirects > self.limits.redirects:
            raise RunFault(f"more than {self.limits.redirects} redirects")
        if not keeps:
            self.implicit_keep = False

    def _agree(self, action: Action) -> None:
        """A message is refused or taken, never both (RFC 5429 §2.1.3, §2.2.2; RFC 5230 §4.7)."""
        other = Keep | FileInto | Redirect | Vacation if isinstance(action, Reject) else Reject
        if any(isinstance(one, other) and one != action for one in self.actions):
            raise RunFault("reject together with another action")

    def user_and_detail(self, address: Halves) -> tuple[str, str | None]:
        """The local-part split at the separator (RFC 5233 §4); None: there is no detail."""
        user, mark, detail = address.local_part.partition(self.around.separator or "\0")
        return user, detail if mark else None
