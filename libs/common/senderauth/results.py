"""The Authentication-Results field: writing ours, and finding those that claim to be (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from libs.common.senderauth.arc import ArcResult
from libs.common.senderauth.dkim import DkimResult
from libs.common.senderauth.dmarc import DmarcResult
from libs.common.senderauth.iprev import IprevResult
from libs.common.senderauth.spf import SpfResult
from libs.protocols.message.header import unfold

NAME = b"authentication-results"
MAX_CLAIMS = 1000
MAX_VALUE = 320
"""Characters of one value; longer ones are cut."""
# A pvalue as it is: a token or an address without quoting (RFC 8601 §2.2).
_PLAIN = re.compile(r"[A-Za-z0-9!#$&'*+/^_`{|}~.-]*@?[A-Za-z0-9!#$&'*+^_`{|}~.-]+")
_UNFIT = re.compile(r"[^ -~]+")
# Possessive quantifiers keep each step linear.
_FIELD = re.compile(
    rb"^authentication-results[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.MULTILINE | re.IGNORECASE
)
_COMMENT = re.compile(rb"\([^()]*\)")
# The authserv-id, quoted or not; a version may follow (§2.2).
_AUTHSERV = re.compile(rb'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t;"]+))')


def value(text: str) -> str:
    """A value that a stranger wrote, so that it stays one value."""
    text = _UNFIT.sub("?", text)[:MAX_VALUE]
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def spf_words(result: SpfResult) -> str:
    """`spf=pass smtp.mailfrom=example.org`."""
    # The domain alone: a local-part in UTF-8 has no place in a field that others must read.
    return f"spf={result.word} smtp.{result.identity}={value(result.domain)}"


def dkim_words(results: Sequence[DkimResult]) -> list[str]:
    """One `dkim=` for each signature; `dkim=none` without any."""
    if not results:
        return ["dkim=none"]
    return [
        f"dkim={one.word}{_reason(one.reason)} header.d={value(one.domain)}"
        f" header.s={value(one.selector)} header.a={value(one.algorithm)}"
        f" header.b={value(one.signature)}"
        for one in results
    ]


def _reason(reason: str) -> str:
    return f" reason={value(reason)}" if reason else ""


def dmarc_words(result: DmarcResult) -> str:
    """`dmarc=fail header.from=example.org policy.dmarc=reject`."""
    policy = f" policy.dmarc={result.policy}" if result.policy_domain else ""
    return f"dmarc={result.word}{_reason(result.reason)} header.from={value(result.domain)}{policy}"


def arc_words(result: ArcResult, client: str) -> str:
    """`arc=pass smtp.remote-ip=192.0.2.1` (RFC 8617 §10.1)."""
    return f"arc={result.word}{_reason(result.reason)} smtp.remote-ip={value(client)}"


def iprev_words(result: IprevResult, client: str) -> str:
    """`iprev=pass policy.iprev=192.0.2.1`."""
    return f"iprev={result.word} policy.iprev={value(client)}"


def authentication_results(authserv_id: str, words: Iterable[str]) -> str:
    """The field, one line for each result, ended by CRLF."""
    lines = ";\r\n ".join([value(authserv_id), *(list(words) or ["none"])])
    return f"Authentication-Results: {lines}\r\n"


def claims(header_section: bytes, authserv_id: str) -> list[int]:
    """Where fields begin that claim to be ours: the first 1,000, from the top.

    Whoever shows the message must take them away (RFC 8601 §5), or a stranger's word passes for
    ours.
    """
    # A search is many times faster than an expression, and nearly no mail has any.
    if NAME not in header_section.lower():
        return []
    ours = authserv_id.lower()
    found = (m.start() for m in _FIELD.finditer(header_section) if _authserv_id(m[1]) == ours)
    return list(islice(found, MAX_CLAIMS))


def _authserv_id(raw: bytes) -> str:
    text = unfold(raw)
    while (less := _COMMENT.sub(b" ", text)) != text:
        text = less
    match = _AUTHSERV.match(text)
    if match is None:
        return ""
    quoted, plain = match.groups()
    found = re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else plain
    return str(found.decode("utf-8", "replace")).lower()
