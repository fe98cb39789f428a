"""`vacation` (RFC 5230, 6131): the action, who is answered, and the answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import SMTP

from libs.protocols.message.date import format_date
from libs.protocols.message.header import parse_header
from libs.protocols.sieve.action import Vacation
from libs.protocols.sieve.arguments import Arguments, Scope, Tags, check
from libs.protocols.sieve.condition import strings_of
from libs.protocols.sieve.fault import RunFault
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.parse import Node, fail
from libs.protocols.sieve.run import Do, Run
from libs.protocols.sieve.text import Text

DAY = 86_400
LEAST_SECONDS = 60
MOST_SECONDS = 365 * DAY
DEFAULT_SECONDS = 7 * DAY
MAX_REASON = 65_536
"""Characters."""
MAX_SUBJECT = 200
_TAGS: Tags = {
    "days": ("", "number"),
    "seconds": ("vacation-seconds", "number"),
    "subject": ("", "string"),
    "from": ("", "string"),
    "addresses": ("", "list"),
    "mime": ("", ""),
    "handle": ("", "string"),
}
_ROBOT = re.compile(
    r"mailer-daemon|listserv|majordomo|owner-.*|.*-owner|.*-request|.*-relay|no-?reply"
    r"|bounces?([-+].*)?",
    re.IGNORECASE,
)
_LISTED = ("list-id", "list-help", "list-subscribe", "list-unsubscribe", "list-post", "list-owner")
_TO = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")


def compile_vacation(node: Node, scope: Scope) -> Do:
    """The action, or a `SieveError`."""
    arguments = check(node, scope, _TAGS, ("string",))
    arguments.one_of(("days", "seconds"), "")
    seconds, handle = _seconds(arguments), _handle(arguments)
    names = ("subject", "from", "addresses")
    parts = {name: strings_of(_texts(arguments, name)) for name in names}
    reason, mime = strings_of(arguments.texts(0)), "mime" in arguments.tags

    def do(run: Run) -> None:
        if any(isinstance(one, Vacation) for one in run.actions):
            # RFC 5230 §4.7: at most one answer to a message.
            raise RunFault("vacation twice")
        text = reason(run)[0][:MAX_REASON]
        if mime and not _entity(text)[0]:
            raise RunFault("vacation :mime needs a MIME entity with a Content-Type field")
        subject, sender = (" ".join(parts[name](run)) for name in ("subject", "from"))
        addresses = tuple(one.strip().lower() for one in parts["addresses"](run))
        action = Vacation(text, seconds, handle, subject[:MAX_SUBJECT], sender, addresses, mime)
        run.act(action, keeps=True)

    return do


def _texts(arguments: Arguments, name: str) -> list[str | Text]:
    argument = arguments.tags.get(name)
    strings = argument.strings if argument else ()
    return [arguments.scope.text(one, arguments.node) for one in strings]


def _seconds(arguments: Arguments) -> int:
    days, seconds = arguments.number("days"), arguments.number("seconds")
    given = days * DAY if days is not None else seconds
    if given is None:
        return DEFAULT_SECONDS
    # RFC 5230 §4.1, RFC 6131 §2: what is outside our range is brought into it.
    least = DAY if days is not None else LEAST_SECONDS
    return min(max(given, least), MOST_SECONDS)


def _handle(arguments: Arguments) -> str:
    """What makes two answers the same one (RFC 5230 §4.2).

    Without `:handle`, the arguments as they are written: a variable in them must not make each
    answer a new one.
    """
    given = arguments.tags.get("handle")
    if given is not None:
        if not given.strings[0]:
            raise fail(":handle needs a text", arguments.node.token)
        return "h:" + hashlib.sha256(given.strings[0].encode("utf-8", "replace")).hexdigest()[:32]
    texts = [repr(arguments.positional[0].strings), repr("mime" in arguments.tags)]
    for name in ("subject", "from"):
        argument = arguments.tags.get(name)
        texts.append(repr(argument.strings if argument else ()))
    return "t:" + hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:32]


def why_not(
    action: Vacation, message: Message, reverse_path: str, own: Iterable[str]
) -> tuple[str, str]:
    """(why this message is not answered, empty: it is; which own address it was written to).

    `own`: the addresses of the script's owner, in lower case.
    """
    ours = {*own, *action.addresses}
    local_part = reverse_path.rpartition("@")[0]
    if not local_part or _ROBOT.fullmatch(local_part):
        # RFC 5230 §4.6, RFC 3834 §2.
        return "its sender is a program", ""
    if reverse_path.lower() in ours:
        return "it comes from oneself", ""
    if any(message.texts(name) for name in _LISTED):
        return "it comes from a mailing list", ""
    if any(text.split(";")[0].strip().lower() != "no" for text in message.texts("auto-submitted")):
        return "it was sent by a program", ""
    if {text.lower() for text in message.texts("precedence")} & {"bulk", "junk", "list"}:
        return "it was sent to many", ""
    written = (a.whole.lower() for name in _TO for a in message.addresses(name))
    found = next((one for one in written if _plain(one) in ours or one in ours), "")
    # RFC 5230 §4.5: only what was written to the owner.
    return ("" if found else "it is not addressed to its recipient"), found


def _plain(address: str) -> str:
    local_part, _, domain = address.rpartition("@")
    return f"{local_part.partition('+')[0]}@{domain}"


def answer(
    action: Vacation, message: Message, *, sender: str, to: str, message_id: str, now: float
) -> bytes:
    """The reply (RFC 5230 §5): from `sender`, to the reverse-path `to`, with our Message-ID."""
    reply = EmailMessage(SMTP)
    reply["From"], reply["To"] = sender, to
    original = " ".join(message.texts("subject")[:1])
    reply["Subject"] = _one_line(action.subject or f"Auto: {original}")[:MAX_SUBJECT]
    reply["Date"], reply["Message-ID"] = format_date(now), message_id
    reply["Auto-Submitted"] = "auto-replied"
    answered = _ids(message.texts("message-id"))[-1:]
    if answered:
        reply["In-Reply-To"] = answered[0]
        reply["References"] = " ".join((_ids(message.texts("references")) + answered)[-20:])
    if not action.mime:
        reply.set_content(action.reason)
        return reply.as_bytes()
    fields, body = _entity(action.reason)
    reply["MIME-Version"] = "1.0"
    head = reply.as_bytes().rstrip(b"\r\n")
    return b"\r\n".join([head, *fields, b"", body])


def _entity(text: str) -> tuple[list[bytes], bytes]:
    """The Content fields of a MIME entity and its body; other fields have no place in it."""
    octets = re.sub(r"\r?\n", "\r\n", text).encode("utf-8", "replace")
    head, _, body = octets.partition(b"\r\n\r\n")
    raw = head + b"\r\n\r\n"
    fields = [
        raw[field.start : field.end].rstrip(b"\r\n")
        for field in parse_header(raw).fields
        if field.name.startswith(b"content-")
    ]
    return fields, body


def _ids(texts: Iterable[str]) -> list[str]:
    return re.findall(r"<[!-;=?-~]{1,250}>", " ".join(texts))


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip()
