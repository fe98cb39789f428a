"""Asking whoever there is about one message, and making one verdict of the answers."""

from __future__ import annotations

import asyncio

from libs.common.jobs import FilterJob, Origin
from services.filter.authentication import Authentication, Authenticator, stronger
from services.filter.clamd import Clamd, ClamdUnavailable
from services.filter.engine import Question
from services.filter.spam import Spam
from services.filter.verdict import NO_SCANNER, OUR_OWN, Conclusion, of_scan, of_unscanned


class Judge:
    """Scanner, authentication and spam engines; each of them may be missing."""

    def __init__(
        self,
        clamd: Clamd | None,
        unscanned: str,
        authenticator: Authenticator,
        spam: Spam | None,
    ) -> None:
        self._clamd = clamd
        self._unscanned = unscanned
        self._authenticator = authenticator
        self._spam = spam

    @property
    def engines(self) -> bool:
        """Is there any?"""
        return self._clamd is not None or self._spam is not None

    async def again(self, job: FilterJob, content: bytes) -> Conclusion:
        """What the engines say of mail that was delivered long ago.

        Its sender was judged when it came: keys and policies in DNS are not those of that time.
        `Unavailable` and `EngineFailed` rise: what nobody has looked at stays where it is.
        """
        conclusion = Conclusion()
        if self._clamd is not None:
            conclusion = of_scan(await self._clamd.scan(content), self._unscanned)
        if self._spam and self._spam.wanted(job, len(content)):
            wanted = self._authenticator.wanted(job)
            found = await self._authenticator.check(job.header, content) if wanted else None
            asked = Question(job.header, content, found)
            conclusion = stronger(conclusion, await self._spam.conclude(asked))
        return conclusion

    async def conclude(self, job: FilterJob, content: bytes) -> Conclusion:
        """The most severe verdict; `Unavailable` when the message must wait for an engine."""
        if job.header.origin is Origin.DSN:
            # It quotes a header at most, and whoever waits for it must learn of the failure.
            return OUR_OWN
        spam = self._spam if self._spam and self._spam.wanted(job, len(content)) else None
        if self._clamd is None:
            return await self._wanted(NO_SCANNER, job, content, spam)
        if spam is None:
            scanned = await self._scan(self._clamd, content)
            return await self._wanted(scanned, job, content, None)
        # The two slow ones at the same time.
        scan = asyncio.ensure_future(self._scan(self._clamd, content))
        wanted = asyncio.ensure_future(self._wanted(None, job, content, spam))
        try:
            return stronger(*await asyncio.gather(scan, wanted))
        finally:
            # When one must wait for its daemon, the other's answer is of no use now.
            scan.cancel()
            wanted.cancel()

    async def _wanted(
        self, scanned: Conclusion | None, job: FilterJob, content: bytes, spam: Spam | None
    ) -> Conclusion:
        """With what its sender and the spam engines say of it."""
        found: Authentication | None = None
        conclusion = scanned or Conclusion()
        if self._authenticator.wanted(job):
            found = await self._authenticator.check(job.header, content)
            conclusion = stronger(conclusion, self._authenticator.conclude(found, job.header))
        if spam is None:
            return conclusion
        return stronger(await spam.conclude(Question(job.header, content, found)), conclusion)

    async def _scan(self, clamd: Clamd, content: bytes) -> Conclusion:
        try:
            return of_scan(await clamd.scan(content), self._unscanned)
        except ClamdUnavailable as error:
            if self._unscanned == "accept-and-mark":
                return of_unscanned(str(error), self._unscanned)
            raise
