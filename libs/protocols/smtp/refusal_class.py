"""Why mail was refused, in a few words that programs can act on: from a reply's words and status.

The words come first, for many hosts give a general status to a particular reason (`550 5.1.1 ...
too many recipients this hour`); then the enhanced status (RFC 3463); then the code alone.  The
rules are data, tried in order.
"""

from __future__ import annotations

import re
from enum import StrEnum


class RefusalClass(StrEnum):
    """The documented set; `docs/operations.md` says what to do about each."""

    NO_MAILBOX = "no_mailbox"
    """There is no such recipient."""
    DISABLED = "disabled"
    """There is, but it takes no mail: closed, inactive, frozen."""
    NO_DOMAIN = "no_domain"
    """The domain does not exist, or takes no mail at all."""
    FULL = "full"
    TOO_LARGE = "too_large"
    CONTENT = "content"
    """Spam, a virus, a bad form: another message may pass."""
    AUTHENTICATION = "authentication"
    """SPF, DKIM or DMARC did not pass, or the host asked us to log in."""
    HOST = "host"
    """Our address: on a block list, of bad repute, without a name in DNS."""
    SENDER = "sender"
    """The reverse-path is not wanted."""
    RATE = "rate"
    """We come too often, or the recipient gets too much."""
    POLICY = "policy"
    """Not allowed, for reasons that the host does not tell."""
    TLS = "tls"
    LOOP = "loop"
    NETWORK = "network"
    """No host, no connection, no answer."""
    SYSTEM = "system"
    """A fault over there."""
    OTHER = "other"


HARD = frozenset({RefusalClass.NO_MAILBOX, RefusalClass.DISABLED, RefusalClass.NO_DOMAIN})
"""The recipient will not take the next message either."""

_C = RefusalClass
_USER = r"(?:user|recipient|mailbox|account|address|destinataire|person|customer|destination)"
WORDS: tuple[tuple[RefusalClass, str], ...] = (
    (_C.NETWORK, r"lost connection|connection (timed out|refused|reset)"),
    (_C.LOOP, r"hop count|too many hops|\bloop(s|ing)?\b|too many received"),
    (
        _C.TLS,
        r"starttls|\btls\b.*(requir|fail|negotiat)|(requir|must).*\b(tls|encrypt)|certificate",
    ),
    (
        _C.RATE,
        r"rate limit|too many (recipients|messages|connections|mails|emails)|frequency limit"
        r"|too (fast|frequent)|throttl|unexpected volume|exceed\w* .*(per|this) (hour|day|minute)"
        r"|(hourly|daily) (limit|quota)|at a rate|greylist|graylist|concurren",
    ),
    (_C.CONTENT, r"spam classification|(scored|flagged) as spam|virus (found|detected)"),
    (
        _C.AUTHENTICATION,
        r"smtp authentication|unauthenticated (e-?mail|sender)|authentication information"
        r"|\bspf\b|\bdkim\b|\bdmarc\b|sender is unauthenticated|purported responsible"
        r"|authentication (is )?required|authrequired|must (be authenticated|authenticate)"
        r"|mismatches client ip|not rfc ?7489",
    ),
    (
        _C.HOST,
        r"blocked using|block ?list|black ?list|\b(dns|r)bl\b|dnsbl|spamhaus|spamcop|bad dns"
        r"|banned sending ip|blocked ip|\bip\b.*(block|ban|reput)|reputation|client host"
        r"|host network|reverse dns|\bptr\b|\brdns\b|helo|ehlo|ip name lookup failed"
        r"|connections? (not accepted|from your)|your (host|ip|server|network)",
    ),
    (
        _C.SENDER,
        r"sender (address )?(was )?(rejected|denied|refused|blocked)|sender's|domain of sender"
        r"|sender (is )?(not|in)\b|sender verif|invalid sender|not allowed to send|from address"
        r"|unknown sender|your address|mail from",
    ),
    (
        _C.NO_DOMAIN,
        r"no such domain|invalid domain|domain (name )?not found|host (or domain name )?not found"
        r"|host unknown|unknown host|nxdomain|null ?mx|doesn't receive e?-?mail"
        r"|does not accept mail|unrouteable (mail )?domain|domain does not exist"
        r"|takes no mail|no relevant answers|bad destination host",
    ),
    (
        _C.FULL,
        r"(mail ?box|inbox|in-box|maildir|account|storage|disk) ?"
        r"(is |for \S+ is |has )?(full|exceed)"
        r"|over ?quota|quota (exceed|is full|full)|exceed\w* .*quota|out of storage|mailbox full"
        r"|quotaexceeded|disk quota|insufficient (disk|storage)|not enough (disk|storage)",
    ),
    (
        _C.TOO_LARGE,
        r"(message|mail|size|content).{0,40}(too (large|big|long)|exceed\w*.{0,30}(size|limit|max))"
        r"|size limit|too (large|big)\b|maximum (message )?size|sizelimit|exceeds .*size",
    ),
    (
        _C.DISABLED,
        _USER + r".{0,40}(disabled|inactive|suspended|frozen|blocked|closed|deactivat"
        r"|expired|terminated|discontinued|not active|no longer)"
        r"|(disabled|inactive|suspended|frozen) (user|recipient|mailbox|account)",
    ),
    (
        _C.NO_MAILBOX,
        r"(unknown|no such|invalid|nonexist\w*|non-exist\w*|bad|undefined) \(?(or illegal )?"
        r"(local |e-?mail |destination |final )?" + _USER
        + r"|no (mailbox|person|user|account) (here|by|with|named|found)"
        r"|" + _USER + r".{0,60}(unknown|not found|not exist|invalid|not known|not listed|not valid"
        r"|nonexistent|cannot be found|doesn't have a|not our customer|does not have)"
        r"|(not exist|not found|unknown).{0,30}" + _USER
        + r"|recipnotfound|recipientnotfound|nosuchuser|no such (recipient|person)|user_unknown"
        r"|not a (valid|known) (user|mailbox|recipient)|undeliverable address|no mailbox"
        r"|not listed in",
    ),
    (
        _C.CONTENT,
        r"spam|virus|malware|phish|\bube\b|\buce\b|content|junk|unsolicited|compliant"
        r"|message.*header|attachment|executable|blocked by .*filter|\burls?\b|banned|suspicious",
    ),
    (
        _C.POLICY,
        r"relay(ing)? (access )?(denied|not|prohibit)|not permitted to relay|unable to relay"
        r"|denied|polic(y|ies)|prohibit|recipient preferences"
        r"|not (allowed|authori[sz]ed|permitted|accepted)|refused|rejected|restricted",
    ),
    (
        _C.NETWORK,
        r"timed? ?out|connection (refused|reset|lost|closed|dropped)|no route|unreachable"
        r"|not reachable|did not accept our|dns (error|query)|name service|message expired"
        r"|could not connect|cannot connect|network|lookup|not responding|retry time",
    ),
    (
        _C.SYSTEM,
        r"config(uration)? error|internal|system (problem|error)|local error|upstream|disk|mapi"
        r"|temporar|server (busy|error)|i/o error|resources|out of memory|service (unavail|refus)",
    ),
)  # fmt: skip

STATUSES: tuple[tuple[RefusalClass, str], ...] = (
    (_C.NO_MAILBOX, r"[45]\.1\.(1|6|351)"),
    (_C.NO_DOMAIN, r"[45]\.1\.(2|10)|5\.4\.4"),
    (_C.SENDER, r"[45]\.1\.(7|8)"),
    (_C.DISABLED, r"5\.2\.1"),
    (_C.FULL, r"[45]\.2\.2|[45]\.3\.1"),
    (_C.TOO_LARGE, r"5\.2\.3|5\.3\.4"),
    (_C.LOOP, r"[45]\.4\.6"),
    (_C.NETWORK, r"[45]\.4\.\d+"),
    (_C.CONTENT, r"[45]\.6\.\d+"),
    (_C.AUTHENTICATION, r"5\.7\.(8|9|2[0-7]|509)"),
    (_C.HOST, r"[45]\.7\.(25|60[0-9]|650)"),
    (_C.RATE, r"4\.7\.28"),
    (_C.POLICY, r"[45]\.7\.\d+"),
    (_C.SYSTEM, r"[45]\.3\.\d+|4\.2\.\d+"),
)
_words = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in WORDS)
_statuses = tuple((kind, re.compile(status)) for kind, status in STATUSES)
_ADDRESS = re.compile(r"<[^<>\s]*>|\S+@\S+|[?#]\S+|\[[^\]\s]*\]")
MOST = 1000
"""Characters of a reply that are looked at."""


def classify(status: str, text: str) -> RefusalClass:
    """The class of a reply: its enhanced status (may be empty), and all its words."""
    # An address, and what a link asks for, may hold any word and says nothing about the reason.
    words = " ".join(_ADDRESS.sub(" ", text[:MOST]).split())
    for kind, pattern in _words:
        if pattern.search(words):
            return kind
    for kind, pattern in _statuses:
        if pattern.fullmatch(status):
            return kind
    return RefusalClass.OTHER
