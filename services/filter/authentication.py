"""Who sent it: the checks of one message from outside, and what follows from them.

A check that fails to run (DNS away, time over) is a `temperror`; it never holds mail up and is
never held against it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal

from libs.common.dns import Resolver
from libs.common.jobs import FilterJob, Origin, RecordHeader, Verdict
from libs.common.senderauth.arc import ArcResult, verify_arc
from libs.common.senderauth.dkim import DkimResult, verify_dkim
from libs.common.senderauth.dmarc import DmarcResult, check_dmarc
from libs.common.senderauth.iprev import IprevResult, check_iprev
from libs.common.senderauth.results import (
    arc_words,
    authentication_results,
    dkim_words,
    dmarc_words,
    iprev_words,
    spf_words,
)
from libs.common.senderauth.signed import SignedMessage
from libs.common.senderauth.spf import SpfResult, check_spf
from libs.protocols.message.author import Author, read_author
from services.filter.verdict import Conclusion, plain

Dmarc = Literal["off", "report", "junk", "reject"]
LISTENER = "mx"
"""Only what strangers hand us has a sender to check: the others logged in, or are our own hosts."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The results of one message."""

    spf: SpfResult
    dkim: tuple[DkimResult, ...]
    arc: ArcResult
    dmarc: DmarcResult
    iprev: IprevResult
    author: Author

    def field(self, authserv_id: str, client: str) -> str:
        """Authentication-Results (RFC 8601)."""
        words = [spf_words(self.spf), *dkim_words(self.dkim)]
        if not self.author.missing:
            words.append(dmarc_words(self.dmarc))
        if self.arc.word != "none":
            words.append(arc_words(self.arc, client))
        return authentication_results(authserv_id, [*words, iprev_words(self.iprev, client)])

    @property
    def text(self) -> str:
        """For the trace: `spf=pass dkim=none dmarc=fail`."""
        dkim = next((one.word for one in self.dkim if one.word == "pass"), "")
        dkim = dkim or (self.dkim[0].word if self.dkim else "none")
        arc = f" arc={self.arc.word}" if self.arc.word != "none" else ""
        return f"spf={self.spf.word} dkim={dkim} dmarc={self.dmarc.word}{arc}"


_UNCLEAR, _DISOWNED = "the author is unclear", "not authenticated as"


def disowned(text: str) -> bool:
    """Whether the text of a verdict says that its sender's authentication speaks against it."""
    return _UNCLEAR in text or _DISOWNED in text


class Authenticator:
    """Checks senders with one resolver and its cache."""

    def __init__(
        self,
        resolver: Resolver,
        dmarc: Dmarc,
        trusted_sealers: frozenset[str],
        seconds: float,
        *,
        local: bool = True,
    ) -> None:
        self._resolver = resolver
        self._dmarc: Dmarc = dmarc
        self._trusted = trusted_sealers
        self._seconds = seconds
        self._local = local

    def wanted(self, job: FilterJob) -> bool:
        """Whether this message has a sender to check."""
        header = job.header
        return (
            self._dmarc != "off"
            and header.origin is Origin.SMTP
            and header.listener == LISTENER
            and not header.client.account
            and (self._local or _is_public(header.client.ip))
        )

    async def check(self, header: RecordHeader, content: bytes) -> Authentication:
        """All checks of one message; those that depend on nothing run together."""
        message = SignedMessage(content)
        author = read_author(message.header)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._check(header, message, author)
        except TimeoutError:
            return _too_late(header, author)

    async def _check(
        self, header: RecordHeader, message: SignedMessage, author: Author
    ) -> Authentication:
        client, now = header.client, time.time()
        spf, dkim, arc, iprev = await asyncio.gather(
            check_spf(
                self._resolver,
                client.ip,
                client.helo,
                header.envelope.reverse_path,
                receiver=header.hostname or "unknown",
                seconds=self._seconds,
            ),
            verify_dkim(message, self._resolver, now),
            verify_arc(message, self._resolver, now),
            check_iprev(self._resolver, client.ip),
        )
        if author.missing:
            dmarc = DmarcResult("none", reason=author.reason)
        elif not author.domain:
            dmarc = DmarcResult("permerror", reason=author.reason)
        else:
            dmarc = await check_dmarc(self._resolver, author.domain, spf, dkim)
        return Authentication(spf, tuple(dkim), arc, dmarc, iprev, author)

    def conclude(self, found: Authentication, header: RecordHeader) -> Conclusion:
        """The verdict that follows, with the field for the delivered message."""
        prefix = found.field(header.hostname or "localhost", header.client.ip)
        reason = self._against(found)
        if not reason:
            return Conclusion(Verdict.ACCEPT, found.text, prefix)
        verdict = self._verdict(found)
        return Conclusion(verdict, f"{plain(reason)} ({found.text})", prefix)

    def _against(self, found: Authentication) -> str:
        """Why the message is not wanted; empty: nothing speaks against it."""
        if self._dmarc == "report" or self._vouched(found):
            return ""
        if found.dmarc.word == "permerror":
            # Forgers write such fields so that each reader sees another author.
            return f"{_UNCLEAR}: {found.dmarc.reason}"
        if found.dmarc.disposition == "none":
            return ""
        wish = f"asks for {found.dmarc.disposition}"
        return f"{_DISOWNED} {found.dmarc.domain}, whose DMARC policy {wish}"

    def _verdict(self, found: Authentication) -> Verdict:
        if self._dmarc == "reject" and found.dmarc.disposition == "reject":
            return Verdict.REJECT
        return Verdict.JUNK

    def _vouched(self, found: Authentication) -> bool:
        """A host that we trust verified the author, then changed the message (RFC 8617 §7.2)."""
        arc = found.arc
        if arc.word != "pass" or not arc.sealers or not set(arc.sealers) <= self._trusted:
            return False
        # The first sealer saw the message as its author sent it.
        return any(one.split()[:1] == ["dmarc=pass"] for one in arc.results[0].split(";")[1:])


@lru_cache(maxsize=4096)
def _is_public(ip: str) -> bool:
    """Whether DNS can say anything of this address."""
    try:
        return ip_address(ip).is_global
    except ValueError:
        return False


def _too_late(header: RecordHeader, author: Author) -> Authentication:
    domain = header.envelope.reverse_path.rpartition("@")[2] or header.client.helo
    identity: Literal["mailfrom", "helo"] = "mailfrom" if header.envelope.reverse_path else "helo"
    late = "it took too long"
    return Authentication(
        SpfResult("temperror", domain, identity, reason=late),
        (DkimResult("temperror", reason=late),),
        ArcResult("none"),
        DmarcResult("temperror", author.domain, reason=late),
        IprevResult("temperror"),
        author,
    )


def stronger(scanned: Conclusion, sender: Conclusion) -> Conclusion:
    """One verdict of two: the more severe one, with the reasons of both."""
    order = list(Verdict)
    verdict = max(scanned.verdict, sender.verdict, key=order.index)
    first, second = (
        (sender, scanned)
        if order.index(sender.verdict) > order.index(scanned.verdict)
        else (scanned, sender)
    )
    text = "; ".join(one.text for one in (first, second) if one.text)
    return Conclusion(verdict, text, sender.prefix + scanned.prefix)
