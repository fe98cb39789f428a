"""How a command ends: OK, NO or BAD, as its tagged response (RFC 9051 §7.1)."""

from __future__ import annotations

from dataclasses import dataclass


def _line(tag: str, word: str, text: str, code: str) -> bytes:
    inside = f"[{code}] " if code else ""
    # IMAP texts are ASCII, and our rules are cited as in the code.
    text = text.replace("§", "section ")
    return f"{tag} {word} {inside}{text}\r\n".encode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Done:
    """OK."""

    text: str
    code: str = ""

    def line(self, tag: str) -> bytes:
        """The tagged response."""
        return _line(tag, "OK", self.text, self.code)


class Silent(Done):
    """The tagged response was sent already, or will never be."""

    def __init__(self) -> None:
        super().__init__("")

    def line(self, tag: str) -> bytes:
        """Nothing."""
        return b""


class No(Exception):
    """It could not be done."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code

    def line(self, tag: str) -> bytes:
        """The tagged response."""
        return _line(tag, "NO", self.text, self.code)


class Bad(Exception):
    """It makes no sense here."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code

    def line(self, tag: str) -> bytes:
        """The tagged response."""
        return _line(tag, "BAD", str(self), self.code)
