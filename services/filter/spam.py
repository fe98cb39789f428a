"""Is it wanted: the spam engines that there are, asked at the same time, and what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import Counter, Histogram

from libs.common.jobs import FilterJob, Origin, Verdict
from libs.common.runtime.log import get_logger
from services.filter.authentication import stronger
from services.filter.engine import Engine, Question, Score
from services.filter.fault import EngineFailed, Unavailable
from services.filter.settings import FilterSettings
from services.filter.spamd import Spamd
from services.filter.thresholds import Thresholds
from services.filter.verdict import Conclusion, plain

log = get_logger(__name__)
_SCORED = Counter("holub_filter_spam_total", "Answers of spam engines.", ["engine", "result"])
_TOOK = Histogram("holub_filter_spam_seconds", "How long spam engines took.", ["engine"])
MARK = "X-Holub-Unscored: yes\r\n"
"""The field of a message that no spam engine has looked at."""
_LINE = 76


class Spam:
    """Asks every engine; the most severe answer counts, and one that fails says nothing."""

    def __init__(
        self,
        engines: Sequence[tuple[Engine, Thresholds]],
        *,
        max_octets: int,
        submitted: bool,
        unscored: str,
        unscored_seconds: float,
    ) -> None:
        self._engines = engines
        self._max_octets = max_octets
        self._submitted = submitted
        self._hold = unscored == "hold"
        self._raise = unscored == "raise"
        self._hold_seconds = unscored_seconds

    def wanted(self, job: FilterJob, size: int) -> bool:
        """Whether this message is asked about."""
        header = job.header
        return (
            header.origin is Origin.SMTP
            and size <= self._max_octets
            and (self._submitted or not header.client.account)
        )

    async def conclude(self, question: Question) -> Conclusion:
        """What the engines say; `Unavailable` while the message must wait for one.

        With the policy `raise` also `EngineFailed`: no answer is no verdict.
        """
        answers = await asyncio.gather(
            *(self._ask(engine, limits, question) for engine, limits in self._engines)
        )
        found = [answer for answer in answers if isinstance(answer, Conclusion)]
        if not found:
            return self._unscored(question, [one for one in answers if isinstance(one, Exception)])
        first, *others = found
        for other in others:
            first = stronger(first, other)
        return first

    async def _ask(
        self, engine: Engine, limits: Thresholds, question: Question
    ) -> Conclusion | Unavailable | EngineFailed:
        start = time.monotonic()
        try:
            score = await engine.score(question)
        except (Unavailable, EngineFailed) as error:
            _SCORED.labels(engine.name, "failed").inc()
            log.warning("not scored", mail_id=question.header.mail_id, error=str(error))
            return error
        _TOOK.labels(engine.name).observe(time.monotonic() - start)
        conclusion = of_score(score, limits)
        _SCORED.labels(engine.name, conclusion.verdict.value).inc()
        return conclusion

    def _unscored(self, question: Question, failures: Sequence[Exception]) -> Conclusion:
        if self._raise:
            raise next((one for one in failures if isinstance(one, Unavailable)), failures[0])
        why = "; ".join(str(one) for one in failures)
        reason = plain(f"not scored: {why}")
        if not self._hold:
            return Conclusion(Verdict.ACCEPT, reason, MARK)
        late = time.time() >= question.header.received_at + self._hold_seconds
        if not late and any(isinstance(one, Unavailable) for one in failures):
            raise Unavailable(why)
        return Conclusion(Verdict.QUARANTINE, reason)


def of_score(score: Score, limits: Thresholds) -> Conclusion:
    """What a score means, with the field for the delivered message."""
    verdict = limits.verdict(score.points)
    text = f"{score.engine} {score.points:.1f}"
    if verdict is not Verdict.ACCEPT:
        text = f"message looks like spam ({text})"
    return Conclusion(verdict, text, _field(score, verdict))


def _field(score: Score, verdict: Verdict) -> str:
    """X-Spam-Status, as mail programs and Sieve scripts know it from SpamAssassin."""
    yes = "No" if verdict is Verdict.ACCEPT else "Yes"
    lines = [f"X-Spam-Status: {yes}, score={score.points:.1f} engine={score.engine} tests="]
    for n, test in enumerate(score.tests):
        word = plain(test)[:_LINE] + ("," if n + 1 < len(score.tests) else "")
        if len(lines[-1]) + len(word) > _LINE:
            lines.append(" ")
        lines[-1] += word
    return "\r\n".join(lines) + "\r\n"


@asynccontextmanager
async def open_engines(settings: FilterSettings) -> AsyncIterator[list[Engine]]:
    """One client for each kind of engine that is configured."""
    engines: list[Engine] = []
    seconds, sessions = settings.spam_seconds, settings.spam_sessions
    if urls := _urls(settings.rspamd):
        # Imported here, so that nobody pays for an HTTP client that is not used.
        from services.filter.rspamd import Rspamd

        engines.append(
            Rspamd(
                urls,
                controller=settings.rspamd_controller,
                password=settings.rspamd_password.get_secret_value(),
                seconds=seconds,
                sessions=sessions,
            )
        )
    if urls := _urls(settings.spamd):
        engines.append(Spamd(urls, seconds=seconds, sessions=sessions))
    try:
        yield engines
    finally:
        for engine in engines:
            await engine.close()


def make_spam(
    settings: FilterSettings, engines: Sequence[Engine], unscored: str = ""
) -> Spam | None:
    """What asks these engines; None without any.  `unscored` is a policy other than the set one."""
    if not engines:
        return None
    limits = {"rspamd": settings.rspamd_scores, "spamd": settings.spamd_scores}
    return Spam(
        [(engine, limits[engine.name]) for engine in engines],
        max_octets=settings.spam_max_octets,
        submitted=settings.spam_submitted,
        unscored=unscored or settings.unscored,
        unscored_seconds=settings.unscored_seconds,
    )


def _urls(text: str) -> list[str]:
    return [url.strip() for url in text.split(",") if url.strip()]
