"""Replies: code, enhanced status code, text (RFC 5321 §4.2, RFC 2034, RFC 3463)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Reply:
    """An SMTP reply; several lines of text make a multi-line reply."""

    code: int
    status: str
    text: str

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return self.code < 400

    def encode(self) -> bytes:
        """The reply on the wire, every line with the enhanced status code (RFC 2034 §4)."""
        return self._wire

    @cached_property
    def _wire(self) -> bytes:
        status = f"{self.status} " if self.status else ""
        lines = self.text.split("\n")
        out = [f"{self.code}-{status}{line}\r\n" for line in lines[:-1]]
        out.append(f"{self.code} {status}{lines[-1]}\r\n")
        return "".join(out).encode("utf-8", "replace")


class Refusal(Exception):
    """Why we do not take responsibility for a message, as the reply to send."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.code} {reply.status} {reply.text}")
        self.reply = reply


OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "recipient OK")
LOCAL_ERROR = Reply(451, "4.3.0", "a fault of ours; please try again later")
TOO_BIG = Reply(552, "5.3.4", "message is larger than our limit; see SIZE in the answer to EHLO")
BARE_LINE_END = Reply(
    550, "5.6.11", "content has a CR or LF that is not part of CRLF; send CRLF (RFC 5321 §2.3.8)"
)
BAD_SEQUENCE = Reply(503, "5.5.1", "bad sequence of commands")
IDLE = Reply(421, "4.4.2", "nothing came for too long; closing")
SHUTTING_DOWN = Reply(421, "4.3.2", "shutting down for maintenance; please connect again")
