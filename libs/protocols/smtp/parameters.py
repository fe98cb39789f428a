"""ESMTP parameters of MAIL and RCPT (RFC 5321 §4.1.1.11)."""

from __future__ import annotations

import re

from libs.protocols.smtp.reply import Refusal, Reply

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_MAX_ENVID = 100
_NOTIFY = {"SUCCESS", "FAILURE", "DELAY"}


def split_parameters(text: str) -> dict[str, str]:
    """`SIZE=1 BODY=7BIT` as a dictionary with upper-case names; a `Refusal` names the bad one."""
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            raise Refusal(Reply(501, "5.5.4", f"bad or repeated parameter {word[:40]!r}"))
        found[match[1].upper()] = match[2] or ""
    return found


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value.upper() not in allowed:
        raise Refusal(Reply(501, "5.5.4", f"{name} is one of {', '.join(allowed)}"))
    return value.upper()


def parse_size(parameters: dict[str, str]) -> int:
    """SIZE in octets, 0 when it is not given (RFC 1870 §3)."""
    value = parameters.pop("SIZE", "0")
    if not value.isdigit() or len(value) > 20:
        raise Refusal(Reply(501, "5.5.4", "SIZE is a number of octets"))
    return int(value)


def parse_body(parameters: dict[str, str]) -> str:
    """BODY (RFC 6152 §2)."""
    return _choice("BODY", parameters.pop("BODY", "7BIT"), ("7BIT", "8BITMIME"))


def parse_flag(parameters: dict[str, str], name: str) -> bool:
    """A parameter without a value."""
    value = parameters.pop(name, None)
    if value:
        raise Refusal(Reply(501, "5.5.4", f"{name} takes no value"))
    return value is not None


def parse_ret(parameters: dict[str, str]) -> str:
    """RET (RFC 3461 §4.3)."""
    value = parameters.pop("RET", "")
    return _choice("RET", value, ("FULL", "HDRS")) if value else ""


def parse_envid(parameters: dict[str, str]) -> str:
    """ENVID, as xtext (RFC 3461 §4.4)."""
    value = parameters.pop("ENVID", "")
    if len(value) > _MAX_ENVID or not _XTEXT.fullmatch(value):
        raise Refusal(Reply(501, "5.5.4", f"ENVID is xtext of at most {_MAX_ENVID} characters"))
    return value


def parse_notify(parameters: dict[str, str]) -> str:
    """NOTIFY (RFC 3461 §4.1): NEVER, or a list of SUCCESS, FAILURE, DELAY."""
    value = parameters.pop("NOTIFY", "").upper()
    words = value.split(",")
    if value and value != "NEVER" and (not set(words) <= _NOTIFY or len(set(words)) < len(words)):
        raise Refusal(Reply(501, "5.5.4", "NOTIFY is NEVER, or SUCCESS,FAILURE,DELAY"))
    return value


def parse_orcpt(parameters: dict[str, str]) -> str:
    """ORCPT (RFC 3461 §4.2): `addr-type;xtext`."""
    value = parameters.pop("ORCPT", "")
    kind, separator, address = value.partition(";")
    if value and not (kind and separator and len(value) <= 500 and _XTEXT.fullmatch(address)):
        raise Refusal(Reply(501, "5.5.4", "ORCPT is like rfc822;address in xtext"))
    return value


def refuse_unknown(parameters: dict[str, str]) -> None:
    """What is left is not one of ours (RFC 5321 §4.1.1.11: 555)."""
    if parameters:
        names = ", ".join(sorted(parameters))[:80]
        raise Refusal(Reply(555, "5.5.4", f"parameters not recognised: {names}"))
