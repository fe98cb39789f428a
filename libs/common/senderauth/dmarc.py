"""DMARC: does the author's domain stand by this message, and what does it want if not? (RFC 9989)

Organizational domains are found by the DNS tree walk; there is no list of public suffixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from libs.common.dns import DnsUnavailable, Resolver
from libs.common.dns.answer import canonical_name
from libs.common.senderauth.dkim import DkimResult
from libs.common.senderauth.dmarc_record import DmarcRecord, Policy, is_dmarc, parse_dmarc
from libs.common.senderauth.spf import SpfResult

MAX_QUERIES = 8
"""§4.10: of a longer name the labels in the middle are passed over."""
_SOFTER: dict[Policy, Policy] = {"reject": "quarantine", "quarantine": "none", "none": "none"}
Word = Literal["none", "pass", "fail", "temperror", "permerror"]


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """What DMARC says of a message."""

    word: Word
    """In the words of RFC 9989 §9.2."""
    domain: str = ""
    """The author's domain."""
    policy: Policy = "none"
    """What the domain asks for messages that fail, before `t=`."""
    disposition: Policy = "none"
    """What is asked for this message: `none` unless it fails."""
    aligned: tuple[str, ...] = ()
    """`spf`, `dkim`: what passed in the author's name."""
    policy_domain: str = ""
    """Where the record was found."""
    reason: str = ""
    testing: bool = False


@dataclass(frozen=True, slots=True)
class _Walk:
    """The records from a domain up to the root, the longest name first."""

    found: tuple[tuple[str, DmarcRecord], ...]
    start: str

    @property
    def organization(self) -> str:
        """§4.10.2."""
        for name, record in self.found:
            if record.psd == "n":
                return name
            if record.psd == "y" and name != self.start:
                return _below(self.start, name)
        return self.found[-1][0] if self.found else self.start

    def record(self, name: str) -> DmarcRecord | None:
        """The record at a name, if the walk came by one."""
        return next((record for where, record in self.found if where == name), None)


def _below(name: str, parent: str) -> str:
    """The name one label longer than the parent, on the way to `name`."""
    count = parent.count(".") + 2
    return ".".join(name.split(".")[-count:])


async def check_dmarc(
    resolver: Resolver, author_domain: str, spf: SpfResult | None, dkim: Sequence[DkimResult]
) -> DmarcResult:
    """The result for the one domain in From; the empty domain, or one that cannot be, fails."""
    domain = canonical_name(author_domain) if author_domain else None
    if domain is None:
        return DmarcResult("permerror", author_domain, reason="there is no author's domain")
    try:
        found = await _policy(resolver, domain)
        if found is None:
            return DmarcResult("none", domain, reason="the domain has no policy")
        where, record, policy = found
        aligned = await _aligned(resolver, domain, record, spf, dkim)
    except DnsUnavailable as error:
        return DmarcResult("temperror", domain, reason=str(error))
    if aligned:
        return DmarcResult("pass", domain, policy, "none", aligned, where, "", record.testing)
    if _undecided(spf, dkim):
        reason = "DNS did not answer for SPF or DKIM"
        return DmarcResult("temperror", domain, policy, "none", (), where, reason, record.testing)
    asked = _SOFTER[policy] if record.testing else policy
    reason = "neither SPF nor DKIM passed for the author's domain"
    return DmarcResult("fail", domain, policy, asked, (), where, reason, record.testing)


def _undecided(spf: SpfResult | None, dkim: Sequence[DkimResult]) -> bool:
    """A later attempt might pass (§5.3.5), so nothing is held against the message."""
    return (spf is not None and spf.word == "temperror") or any(
        one.word == "temperror" for one in dkim
    )


async def _walk(resolver: Resolver, start: str) -> _Walk:
    found = []
    for name in _names(start):
        record = await _record(resolver, name)
        if record is None:
            continue
        found.append((name, record))
        if record.psd != "u":
            break
    return _Walk(tuple(found), start)


def _names(start: str) -> list[str]:
    """The names that are asked (§4.10 steps 2 to 8)."""
    labels = start.split(".")
    rest = labels[1:] if len(labels) < MAX_QUERIES else labels[-(MAX_QUERIES - 1) :]
    return [start] + [".".join(rest[n:]) for n in range(len(rest))]


async def _record(resolver: Resolver, name: str) -> DmarcRecord | None:
    answer = await resolver.txt(f"_dmarc.{name}")
    records = [one for one in answer.records if is_dmarc(one)]
    # Several records are as good as none (§4.10 step 2).
    return parse_dmarc(records[0]) if len(records) == 1 else None


async def _policy(resolver: Resolver, domain: str) -> tuple[str, DmarcRecord, Policy] | None:
    """(where, record, policy): the author's, the organization's, or the suffix's (§4.10.1)."""
    own = await _record(resolver, domain)
    if own is not None:
        return (domain, own, own.policy) if own.usable else None
    walk = await _walk(resolver, domain)
    where, record = walk.organization, walk.record(walk.organization)
    if record is None:
        suffixes = [item for item in walk.found if item[1].psd == "y"]
        if not suffixes:
            return None
        where, record = suffixes[0]
    if not record.usable:
        return None
    if record.missing is not None and not await _exists(resolver, domain):
        return where, record, record.missing
    return where, record, record.subdomains or record.policy


async def _exists(resolver: Resolver, domain: str) -> bool:
    """Whether a name has an address or a mail exchanger (§3.2.13)."""
    return bool(
        (await resolver.mx(domain)).records
        or (await resolver.a(domain)).records
        or (await resolver.aaaa(domain)).records
    )


async def _aligned(
    resolver: Resolver,
    domain: str,
    record: DmarcRecord,
    spf: SpfResult | None,
    dkim: Sequence[DkimResult],
) -> tuple[str, ...]:
    """Identifier alignment (§4.4); equal names need no walk, and are the usual case."""
    sender = canonical_name(spf.domain) if spf is not None and spf.word == "pass" else None
    signers = {one.domain for one in dkim if one.word == "pass"}
    aligned = []
    if sender and (
        sender == domain or (not record.strict_spf and await _related(resolver, domain, sender))
    ):
        aligned.append("spf")
    if domain in signers:
        aligned.append("dkim")
    elif not record.strict_dkim:
        for name in sorted(signers):
            if await _related(resolver, domain, name):
                aligned.append("dkim")
                break
    return tuple(aligned)


async def _related(resolver: Resolver, domain: str, name: str) -> bool:
    """Whether two names are of one organization."""
    if domain.rpartition(".")[2] != name.rpartition(".")[2]:
        return False
    organization = (await _walk(resolver, domain)).organization
    if name != organization and not name.endswith(f".{organization}"):
        return False
    return (await _walk(resolver, name)).organization == organization
