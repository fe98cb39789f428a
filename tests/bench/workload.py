"""The messages of a run, made from a seed: the same in the generator and in the reader.

`4k` is text of 4 KB, `64k` text of 64 KB, `corpus` the mix of real mailboxes: of 1,000 messages
600 text of 4 KB, 300 text and HTML of 23 KB, 90 with an attachment of 300 KB and 10 of 3 MB.
Every message has its own Message-ID and begins with its number.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
from dataclasses import dataclass

LOADS = ("4k", "64k", "corpus")
MARK = b"X-Bench: "
"""The first header field of a content: a server's own fields stand before it."""

_CORPUS = {"text": 600, "html": 300, "attachment": 90, "large": 10}
_TEMPLATES = 1000
_COMMON = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "for",
    "was",
    "on",
    "are",
    "with",
    "as",
    "be",
    "at",
    "by",
    "this",
    "have",
    "from",
    "or",
    "had",
    "not",
    "but",
    "what",
    "all",
    "were",
    "when",
    "we",
    "there",
    "can",
    "an",
    "your",
    "which",
    "their",
    "said",
    "if",
    "do",
    "will",
    "each",
    "about",
    "how",
    "up",
    "out",
    "them",
    "then",
    "she",
    "many",
    "some",
    "so",
    "these",
    "would",
    "other",
    "into",
    "has",
    "more",
    "her",
    "two",
    "like",
    "him",
    "see",
    "time",
    "could",
    "no",
    "make",
    "than",
    "first",
    "been",
    "its",
    "who",
    "now",
    "people",
    "my",
    "made",
    "over",
    "did",
    "down",
    "only",
    "way",
    "find",
    "use",
    "may",
    "water",
    "long",
    "little",
    "very",
    "after",
    "words",
    "called",
    "just",
    "where",
    "most",
    "know",
    "get",
    "through",
    "back",
    "meeting",
    "invoice",
    "report",
    "project",
    "schedule",
    "review",
    "contract",
    "order",
    "delivery",
    "customer",
    "account",
    "budget",
    "question",
    "attached",
    "regards",
    "please",
    "thanks",
    "tomorrow",
    "Monday",
    "Friday",
    "update",
    "server",
]
_SYLLABLES = [
    "an",
    "ba",
    "ca",
    "den",
    "er",
    "fi",
    "gra",
    "ho",
    "in",
    "jo",
    "ka",
    "lu",
    "mi",
    "no",
    "or",
    "pre",
    "qui",
    "ra",
    "sta",
    "ter",
    "un",
    "va",
    "wo",
    "xi",
    "ya",
    "ze",
    "tion",
    "ment",
    "ing",
    "ness",
    "ly",
    "able",
    "con",
    "dis",
    "re",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is stored, and as it crosses the wire."""

    number: int
    head: bytes
    """Number and Message-ID, each ended by CRLF."""
    rest: bytes
    """The other octets of the content; shared between messages."""
    wire: bytes
    """`rest` with doubled dots (RFC 5321 §4.5.2) and the final dot."""

    def sha256(self) -> bytes:
        """The digest of the content."""
        digest = hashlib.sha256(self.head)
        digest.update(self.rest)
        return digest.digest()


class Workload:
    """`message(n)` for n from 0 on; all of them are known from (load, seed)."""

    def __init__(self, load: str, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(f"{seed}/{load}")
        self._words = _vocabulary(self._rng)
        self._templates = [self._template(kind) for kind in self._kinds(load)]

    def _kinds(self, load: str) -> list[str]:
        if load != "corpus":
            return [{"4k": "text", "64k": "long"}[load]] * (_TEMPLATES // 10)
        kinds = [kind for kind, count in _CORPUS.items() for _ in range(count)]
        self._rng.shuffle(kinds)
        return kinds

    def message(self, number: int) -> Message:
        """The message of this number."""
        rest, wire = self._templates[number % len(self._templates)]
        head = b"%s%09d\r\nMessage-ID: <%09d.%d@bench.example>\r\n" % (
            MARK,
            number,
            number,
            self._seed,
        )
        return Message(number, head, rest, wire)

    def _template(self, kind: str) -> tuple[bytes, bytes]:
        match kind:
            case "text":
                rest = self._plain(4_000)
            case "long":
                rest = self._plain(65_300)
            case "html":
                rest = self._alternative()
            case "attachment":
                rest = self._attachment(300_000)
            case _:
                rest = self._attachment(3_000_000)
        stuffed = rest.replace(b"\r\n.", b"\r\n..")
        return rest, stuffed + b".\r\n"

    def _header(self, content_type: str) -> bytes:
        names = [self._word().capitalize() for _ in range(4)]
        day = self._rng.randint(1, 28)
        lines = (
            f"From: {names[0]} {names[1]} <{names[0].lower()}@bench.example>",
            f"To: {names[2]} {names[3]} <bench@example.test>",
            f"Subject: {' '.join(self._word() for _ in range(6))}",
            f"Date: Mon, {day:02d} Jun 2026 10:{day:02d}:00 +0000",
            "MIME-Version: 1.0",
            f"Content-Type: {content_type}",
        )
        return ("\r\n".join(lines) + "\r\n").encode()

    def _word(self) -> str:
        return self._rng.choice(self._words)

    def _text(self, octets: int) -> bytes:
        lines: list[str] = []
        size = 0
        while size < octets:
            line = " ".join(self._rng.choices(self._words, k=self._rng.randint(8, 12)))[:76]
            # A line that begins with a dot is doubled on the wire.
            line = f".{line}" if self._rng.random() < 0.01 else line
            lines.append(line)
            size += len(line) + 2
        return ("\r\n".join(lines) + "\r\n").encode()

    def _plain(self, octets: int) -> bytes:
        header = self._header("text/plain; charset=utf-8")
        return header + b"Content-Transfer-Encoding: 7bit\r\n\r\n" + self._text(octets)

    def _html(self, octets: int) -> bytes:
        cells = itertools.count(1)
        out = [b'<html><body style=3D"font-family: sans-serif">\r\n']
        size = len(out[0])
        while size < octets:
            words = " ".join(self._rng.choices(self._words, k=6))[:50]
            row = f'<tr><td class=3D"c{next(cells)}"><b>{words}</b></td></tr>\r\n'.encode()
            out.append(row)
            size += len(row)
        return b"".join(out) + b"</body></html>\r\n"

    def _alternative(self) -> bytes:
        mark = f"=_{self._rng.getrandbits(64):016x}"
        header = self._header(f'multipart/alternative; boundary="{mark}"')
        limit = f"--{mark}\r\n".encode()
        return b"".join(
            (
                header,
                b"\r\n" + limit,
                b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
                self._text(5_000),
                limit,
                b"Content-Type: text/html; charset=utf-8\r\n",
                b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
                self._html(17_500),
                f"--{mark}--\r\n".encode(),
            )
        )

    def _attachment(self, octets: int) -> bytes:
        mark = f"=_{self._rng.getrandbits(64):016x}"
        header = self._header(f'multipart/mixed; boundary="{mark}"')
        limit = f"--{mark}\r\n".encode()
        data = base64.encodebytes(self._rng.randbytes(octets * 3 // 4 * 76 // 78))
        return b"".join(
            (
                header,
                b"\r\n" + limit,
                b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
                self._text(2_000),
                limit,
                b'Content-Type: application/pdf; name="report.pdf"\r\n',
                b"Content-Transfer-Encoding: base64\r\n",
                b'Content-Disposition: attachment; filename="report.pdf"\r\n\r\n',
                data.replace(b"\n", b"\r\n"),
                f"--{mark}--\r\n".encode(),
            )
        )


def _vocabulary(rng: random.Random) -> list[str]:
    """Words with about the frequencies of a language: the common ones again and again."""
    made = {"".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(4000)}
    return _COMMON * 30 + sorted(made)


def address(number: int, accounts: int, domain: str) -> str:
    """The recipient of a message: one account after the other."""
    return f"bench{number % accounts + 1}@{domain}"
