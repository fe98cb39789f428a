"""Speaking SMTP to our own mail host as a stranger would, without sending anything."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

_LINES = 50
_FOREIGN = "relay-test@example.com"
"""example.com takes no mail (RFC 7505), and the test ends before DATA anyway."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a stranger sees."""

    name: str
    relays: bool
    relay_reply: str
    certificate_error: str
    certificate_until: str


class _Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> list[str]:
        lines: list[str] = []
        while len(lines) < _LINES:
            line = (await self.reader.readline()).decode("ascii", "replace").rstrip()
            lines.append(line)
            if line[3:4] != "-":
                break
        return lines

    async def say(self, line: str) -> list[str]:
        self.writer.write(f"{line}\r\n".encode())
        await self.writer.drain()
        return await self.reply()


async def greet(host: str, port: int, context: ssl.SSLContext | None = None) -> Greeting:
    """Greet, look at the certificate, ask for a relay from nowhere to nowhere; `OSError`."""
    talk = _Talk(*await asyncio.open_connection(host, port))
    try:
        await talk.reply()
        features = await talk.say("EHLO doctor.invalid")
        name = features[0][4:].split(" ", 1)[0]
        await talk.say("MAIL FROM:<relay-test@doctor.invalid>")
        answer = (await talk.say(f"RCPT TO:<{_FOREIGN}>"))[-1]
        await talk.say("RSET")
        error, until = await _certificate(talk, features, host, context)
        return Greeting(name, answer.startswith("2"), answer, error, until)
    finally:
        talk.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await talk.writer.wait_closed()


async def _certificate(
    talk: _Talk, features: list[str], host: str, context: ssl.SSLContext | None
) -> tuple[str, str]:
    """(what is wrong, end of validity)."""
    if not any(line[4:].upper() == "STARTTLS" for line in features):
        return "STARTTLS is not offered", ""
    await talk.say("STARTTLS")
    try:
        await talk.writer.start_tls(context or ssl.create_default_context(), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message, ""
    except (ssl.SSLError, ConnectionError) as error:
        return f"no TLS: {error}", ""
    certificate = talk.writer.get_extra_info("peercert") or {}
    return "", str(certificate.get("notAfter", "unknown"))
