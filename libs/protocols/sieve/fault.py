"""What can be wrong with a script: before it runs, and while it runs."""

from __future__ import annotations


class SieveError(Exception):
    """The script is not valid; says where, so that its author finds the place."""

    def __init__(self, text: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {text}")
        self.text = text
        self.line = line
        """From 1."""
        self.column = column
        """From 1, in characters."""


class RunFault(Exception):
    """The script cannot go on with this message; the mail is kept (RFC 5228 §2.10.6)."""
