"""The text of SPF records (RFC 7208 §4.6, §5, §6, §12)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from libs.common.senderauth.spf_macro import check_macros

QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9_.-]*+)(?:([:=/])(.*))?", re.DOTALL)
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]*))?(?://(0|[1-9][0-9]*))?\Z")
# A domain-spec ends in a top label that is no number, or in a macro (§7.1).
_DOMAIN_END = re.compile(
    r".*\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?"
    r"|.*%(?:[%_-]|\{[^{}]*\})",
    re.DOTALL,
)


class BadRecord(ValueError):
    """A permanent error; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism."""

    result: str
    """What it says when it matches: pass, fail, softfail or neutral."""
    name: str
    domain: str = ""
    """The domain-spec, with its macros; empty: the current domain."""
    cidr4: int = 32
    cidr6: int = 128
    network: IPv4Network | IPv6Network | None = None
    """Of ip4 and ip6."""

    @property
    def text(self) -> str:
        """As it may be shown: `ip4:192.0.2.0/24`, `include:example.org`."""
        argument = str(self.network) if self.network else self.domain
        return f"{self.name}:{argument}" if argument else self.name


@dataclass(frozen=True, slots=True)
class Record:
    """A record without faults."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str = ""
    explanation: str = ""


def is_spf(record: bytes) -> bool:
    """Whether this TXT record claims to be one (§4.5)."""
    start = record[:7].lower()
    return start == b"v=spf1 " or (start[:6] == b"v=spf1" and len(record) == 6)


@lru_cache(maxsize=4096)
def parse_record(raw: bytes) -> Record:
    """The record; `BadRecord` for any fault in it, wherever it is (§4.6)."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadRecord("the record is not ASCII") from None
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        match = _TERM.fullmatch(term)
        if match is None:
            raise BadRecord(f"{term[:40]!r} is no term")
        qualifier, name, sign, argument = match.groups()
        if sign == "=":
            _modifier(modifiers, qualifier, name.lower(), argument)
        else:
            mechanisms.append(_mechanism(qualifier or "+", name.lower(), sign, argument))
    return Record(tuple(mechanisms), modifiers.get("redirect", ""), modifiers.get("exp", ""))


def _modifier(modifiers: dict[str, str], qualifier: str, name: str, value: str) -> None:
    if qualifier:
        raise BadRecord(f"{name}= takes no qualifier")
    if name in ("redirect", "exp"):
        if name in modifiers:
            # §6: they appear once at most.
            raise BadRecord(f"{name}= comes twice")
        modifiers[name] = _domain(value)
    else:
        _macros(value)


def _mechanism(qualifier: str, name: str, sign: str | None, argument: str | None) -> Mechanism:
    result = QUALIFIERS[qualifier]
    whole = (sign or "") + (argument or "")
    if name == "all":
        if whole:
            raise BadRecord("all takes no argument")
        return Mechanism(result, name)
    if name in ("ip4", "ip6"):
        return Mechanism(result, name, network=_network(name, sign, argument or ""))
    if name in ("include", "exists", "ptr"):
        if whole == "" and name == "ptr":
            return Mechanism(result, name)
        if sign != ":":
            raise BadRecord(f"{name} needs a domain")
        return Mechanism(result, name, _domain(argument or ""))
    if name in ("a", "mx"):
        return _addresses(result, name, whole)
    raise BadRecord(f"{name[:40]!r} is no mechanism")


def _addresses(result: str, name: str, whole: str) -> Mechanism:
    # The prefix lengths stand at the end; a slash before them is part of the domain.
    match = _CIDR.search(whole)
    assert match
    domain = whole[: match.start()]
    four, six = int((match[1] or "32")[:4]), int((match[2] or "128")[:4])
    if four > 32 or six > 128:
        raise BadRecord(f"{name} has a wrong prefix length")
    if domain[:1] == ":":
        return Mechanism(result, name, _domain(domain[1:]), four, six)
    if domain:
        raise BadRecord(f"{name} has a wrong argument")
    return Mechanism(result, name, "", four, six)


def _network(name: str, sign: str | None, argument: str) -> IPv4Network | IPv6Network:
    if sign != ":":
        raise BadRecord(f"{name} needs an address")
    _, slash, length = argument.partition("/")
    if slash and (not length.isdecimal() or (length[0] == "0" and length != "0")):
        raise BadRecord(f"{name} has a wrong prefix length")
    try:
        network = ip_network(argument, strict=False)
    except ValueError:
        raise BadRecord(f"{name}:{argument[:40]} is no network") from None
    if network.version != int(name[2]) or "%" in argument:
        raise BadRecord(f"{name}:{argument[:40]} is no network")
    return network


def _domain(text: str) -> str:
    _macros(text)
    if not _DOMAIN_END.fullmatch(text):
        raise BadRecord(f"{text[:40]!r} is no domain")
    return text


def _macros(text: str) -> None:
    try:
        check_macros(text)
    except ValueError as error:
        raise BadRecord(str(error)) from None
