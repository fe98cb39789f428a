"""What a script asks for, in the order in which it asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keep:
    """Into INBOX (RFC 5228 §4.3), explicitly or because nothing else was said (§2.10.2)."""

    flags: tuple[str, ...] = ()
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class FileInto:
    """Into a mailbox (RFC 5228 §4.1)."""

    mailbox: str
    flags: tuple[str, ...] = ()
    create: bool = False
    """RFC 5490 §3.2."""
    special_use: str = ""
    """The use of the mailbox when it is created (RFC 8579 §4)."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """To another address (RFC 5228 §4.2)."""

    address: str


@dataclass(frozen=True, slots=True)
class Discard:
    """No implicit keep (RFC 5228 §4.4)."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refused, with a reason (RFC 5429)."""

    reason: str
    extended: bool
    """ereject: never by a message of its own where the protocol can say it."""


@dataclass(frozen=True, slots=True)
class Vacation:
    """Answered, at most once for each sender and period (RFC 5230)."""

    reason: str
    seconds: int
    """The period."""
    handle: str
    """What makes two answers the same one."""
    subject: str = ""
    sender: str = ""
    """`:from`; empty: the address that the message was written to."""
    addresses: tuple[str, ...] = ()
    """More addresses of the owner, in lower case."""
    mime: bool = False
    """The reason is a MIME entity."""


Action = Keep | FileInto | Redirect | Discard | Reject | Vacation


def describe(action: Action) -> str:
    """One line, as a script would write it."""
    match action:
        case Keep(flags, implicit):
            return f"keep{_flags(flags)}{' (implicit)' if implicit else ''}"
        case FileInto(mailbox, flags, create):
            return f"fileinto{' :create' if create else ''}{_flags(flags)} {_quote(mailbox)}"
        case Redirect(address):
            return f"redirect {_quote(address)}"
        case Reject(reason, extended):
            return f"{'ereject' if extended else 'reject'} {_quote(reason)}"
        case Vacation(reason, seconds):
            return f"vacation :seconds {seconds} {_quote(reason)}"
    return "discard"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\r", "\\r").replace("\n", "\\n") + '"'


def _flags(flags: tuple[str, ...]) -> str:
    return f" :flags [{', '.join(_quote(flag) for flag in flags)}]" if flags else ""
