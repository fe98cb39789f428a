"""The argument of BDAT (RFC 3030 §2)."""

from __future__ import annotations

import re

from libs.protocols.smtp.reply import Refusal, Reply

MAX_DIGITS = 12
_CHUNK = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})(?: +(LAST))?", re.IGNORECASE | re.ASCII)


def parse_chunk(argument: str) -> tuple[int, bool]:
    """(octets, is it the last?): `86 LAST` gives (86, True).

    A `Refusal` says 421: how many octets follow is unknown, and to read them as commands would
    be smuggling, so nobody may go on in this session.
    """
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise Refusal(
            Reply(421, "4.5.4", f"write BDAT octets [LAST], at most {MAX_DIGITS} digits; closing")
        )
    return int(match[1]), match[2] is not None
