"""One SMTP transaction: MAIL, RCPT, DATA, and a fate for each recipient."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from libs.common.jobs import Envelope, Recipient
from libs.common.runtime.failpoint import failpoint
from libs.protocols.message.header import header_end
from libs.protocols.message.seven_bit import CannotConvert, to_seven_bit
from services.relay.fate import Fate, bounced, deferred, of_answer
from services.relay.outgoing import DotWriter
from services.relay.reply import Answer
from services.relay.smtp_client import Connection, ConnectionLost

MOST_RECIPIENTS = 100
"""In one transaction: what every host must take (RFC 5321 §4.5.3.1.8)."""
MOST_CONVERTED = 32 * 1024 * 1024
"""Octets of a message that is made 7-bit for a host without 8BITMIME."""
SIGNATURES_OCTETS = 2048
_GENERAL = "4.4."
"""Network and routing (RFC 3463 §3.5): the only statuses of a refused MAIL that are about the
destination.  4.3 and 4.7 are often about one sender, who must not close a domain for all others."""
_UNFIT = re.compile(r"[\x00-\x1f\x7f<>]")


class NotBegun(Exception):
    """The connection was lost before the host was asked for the content; nothing was sent."""


class FenceLost(Exception):
    """Somebody else has the recipients now: send and record nothing."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one transaction hands over."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]
    size: int
    """Octets, as SIZE tells them."""
    head: bytes
    """The header section as it leaves, with its blank line."""
    rest: Callable[[], AsyncIterator[bytes]]
    """The content after the header section."""
    fence: Callable[[], Awaitable[None]]
    """Called right before the dot; raises `FenceLost`."""
    sign: Callable[[Parcel], Awaitable[bytes]] | None = None
    """Gives the fields that go before the head, for the octets that just this host gets."""


def needs_smtputf8(parcel: Parcel) -> bool:
    """Addresses or header fields are not ASCII, so RFC 6531 §3.1 applies."""
    addresses = [parcel.envelope.reverse_path, *(r.address for r in parcel.recipients)]
    if not all(address.isascii() for address in addresses):
        return True
    return parcel.envelope.smtputf8 and not parcel.head.isascii()


def impossible(parcel: Parcel, extensions: dict[str, str], *, proven: bool = False) -> Fate | None:
    """Why this host can never take this message, known before anything is sent.

    `proven`: the connection has TLS, and the host is known to be the right one.
    """
    envelope = parcel.envelope
    if _UNFIT.search(envelope.reverse_path):
        return bounced("5.1.7", "the reverse-path cannot be written in an SMTP command")
    asked = envelope.requiretls and envelope.reverse_path  # RFC 8689 §5: not for reports
    if asked and not (proven and "REQUIRETLS" in extensions):
        # RFC 8689 §4.2.1: TLS with a proven name, to a host that asks the same of the next one.
        return bounced("5.7.30", "REQUIRETLS was asked for, and the next hop cannot promise it")
    if envelope.body == "BINARYMIME":
        return bounced("5.6.3", "BINARYMIME content cannot be converted for the next hop")
    if needs_smtputf8(parcel) and "SMTPUTF8" not in extensions:
        return bounced("5.6.7", "the next hop does not take addresses or headers in UTF-8")
    limit = extensions.get("SIZE", "")
    if limit.isascii() and limit.isdigit() and 0 < int(limit) < parcel.size:
        return bounced("5.3.4", f"{parcel.size} octets; the next hop takes at most {limit}")
    return None


def mail_command(parcel: Parcel, extensions: dict[str, str]) -> str:
    """MAIL with the parameters that the host announced."""
    envelope = parcel.envelope
    words = [f"MAIL FROM:<{envelope.reverse_path}>"]
    if "SIZE" in extensions:
        # An estimate is enough (RFC 1870 §5), and the signatures are not made yet.
        words.append(f"SIZE={parcel.size + (SIGNATURES_OCTETS if parcel.sign else 0)}")
    if envelope.body == "8BITMIME" and "8BITMIME" in extensions:
        words.append("BODY=8BITMIME")
    if needs_smtputf8(parcel):
        words.append("SMTPUTF8")
    if envelope.requiretls and "REQUIRETLS" in extensions:
        words.append("REQUIRETLS")
    if "DSN" in extensions:
        words += [f"RET={envelope.ret}"] if envelope.ret else []
        words += [f"ENVID={envelope.envid}"] if envelope.envid else []
    return " ".join(words)


def rcpt_command(recipient: Recipient, extensions: dict[str, str]) -> str:
    """RCPT with the DSN parameters, when the host takes them (RFC 3461 §5.2.1)."""
    words = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in extensions:
        words += [f"NOTIFY={recipient.notify}"] if recipient.notify else []
        words += [f"ORCPT={recipient.orcpt}"] if recipient.orcpt else []
    return " ".join(words)


async def transact(connection: Connection, parcel: Parcel) -> dict[int, Fate]:
    """A fate for each recipient.

    Raises `NotBegun` (nothing was sent: ask another connection), `FenceLost`, and what `rest`
    raises; then the connection is closed.
    """
    try:
        parcel = await fitted(parcel, connection.extensions)
    except CannotConvert as error:
        text = f"the next hop takes no 8-bit content, and it cannot be converted: {error}"
        fate: Fate | None = bounced("5.6.3", text)
    else:
        fate = impossible(parcel, connection.extensions, proven=connection.proven)
    if fate:
        return {r.n: fate for r in parcel.recipients}
    fates = {
        r.n: bounced("5.1.3", "the address cannot be written in an SMTP command")
        for r in parcel.recipients
        if _UNFIT.search(r.address)
    }
    recipients = [r for r in parcel.recipients if r.n not in fates]
    try:
        return fates | await _transact(connection, parcel, recipients)
    except BaseException:
        # No dot is sent on a connection in doubt, so the host drops what it has.
        connection.close()
        raise


async def fitted(parcel: Parcel, extensions: dict[str, str]) -> Parcel:
    """The parcel as the host can take it: with a 7-bit body where it must be (RFC 6152 §3)."""
    if "8BITMIME" in extensions:
        return parcel
    if all([block.isascii() async for block in parcel.rest()]):
        return parcel
    if parcel.size > MOST_CONVERTED:
        raise CannotConvert(f"it has over {MOST_CONVERTED} octets")
    content = parcel.head + b"".join([block async for block in parcel.rest()])
    content = await asyncio.to_thread(to_seven_bit, content)
    end = header_end(content)

    async def rest() -> AsyncIterator[bytes]:
        yield content[end:]

    return replace(parcel, head=content[:end], size=len(content), rest=rest)


async def _transact(
    connection: Connection, parcel: Parcel, recipients: Sequence[Recipient]
) -> dict[int, Fate]:
    if not recipients:
        return {}
    host = str(connection.hop)
    try:
        mail, answers, data = await _envelope(connection, parcel, recipients)
    except ConnectionLost as lost:
        raise NotBegun(str(lost)) from lost
    if not mail.positive:
        why = of_answer(mail, host)
        why = replace(why, general=why.status.startswith(_GENERAL))
        fates = {r.n: why for r in recipients}
    else:
        fates = {
            r.n: of_answer(answer, host, rcpt=True)
            for r, answer in zip(recipients, answers, strict=True)
        }
    taken = [r.n for r in recipients if mail.positive and fates[r.n].result == "relayed"]
    if data is None or data.code != 354:
        refused = deferred("4.5.0", f"unexpected reply to DATA: {data}", host)
        if data is not None and not data.positive:
            refused = of_answer(data, host)
        return fates | dict.fromkeys(taken, refused)
    if not taken:
        await _nothing(connection)
        return fates
    return fates | dict.fromkeys(taken, await _content(connection, parcel))


async def _envelope(
    connection: Connection, parcel: Parcel, recipients: Sequence[Recipient]
) -> tuple[Answer, list[Answer], Answer | None]:
    """The replies to MAIL, to each RCPT, and to DATA when it was sent."""
    extensions = connection.extensions
    connection.dirty = True
    group = [mail_command(parcel, extensions)]
    group += [rcpt_command(recipient, extensions) for recipient in recipients]
    if connection.pipelining:
        # RFC 2920 §3.1: DATA may end a group; it is the last command of ours.
        mail, *answers, data = await connection.commands([*group, "DATA"])
        return mail, answers, data
    mail = await connection.command(group[0])
    if not mail.positive:
        return mail, [], None
    answers = [await connection.command(line) for line in group[1:]]
    if not any(answer.positive for answer in answers):
        return mail, answers, None
    return mail, answers, await connection.command("DATA")


async def _nothing(connection: Connection) -> None:
    """The host wants content for nobody: it gets none (RFC 2920 §3.1)."""
    try:
        await connection.end_content()
        await connection.content_answer()
    except ConnectionLost:
        connection.close()
    connection.dirty = False


async def _content(connection: Connection, parcel: Parcel) -> Fate:
    """Send the content; what the host says of it."""
    host, dots = str(connection.hop), DotWriter()
    signatures = await parcel.sign(parcel) if parcel.sign else b""
    try:
        await connection.write(dots.feed(signatures + parcel.head))
        async for block in parcel.rest():
            await connection.write(dots.feed(block))
        await connection.write(dots.finish())
    except ConnectionLost as lost:
        connection.close()
        return deferred("4.4.2", f"{lost}, before the content was sent", host)
    await parcel.fence()
    await failpoint("relay.before_dot")
    try:
        await connection.end_content()
        await failpoint("relay.after_dot")
        answer = await connection.content_answer()
    except ConnectionLost as lost:
        # It may have the message.  Another attempt may make a second copy (I2 c), none may lose it.
        connection.close()
        return deferred("4.4.2", f"{lost}, after the final dot", host)
    connection.dirty = False
    if answer.positive and answer.code // 100 != 2:
        return deferred("4.5.0", f"unexpected reply to the content: {answer}", host)
    return replace(of_answer(answer, host), reports="DSN" in connection.extensions)
