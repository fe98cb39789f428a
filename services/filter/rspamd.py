"""A client of rspamd: its HTTP protocol, with all that we know of the session.

What we found of the sender goes along as rspamd's own symbols, and its own checks of that are
turned off, so that no name is asked for twice.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Sequence

import aiohttp
import msgspec
from multidict import CIMultiDict

from libs.common.runtime.log import get_logger
from services.filter.authentication import Authentication
from services.filter.engine import MAX_TESTS, Question, Score, Turn
from services.filter.fault import EngineFailed, Unavailable

log = get_logger(__name__)
MAX_ANSWER = 1024 * 1024
_LEARNED_BEFORE = 208
"""What rspamd answers to what it has learned before; older ones answer 404 and say so."""
_BEFORE = re.compile(rb"already (?:been )?learned")
_LOST = (aiohttp.ClientError, OSError, TimeoutError)
_CHECKS = ["SPF_CHECK", "DKIM_CHECK", "DMARC_CHECK", "ARC_CHECK"]
_SPF = {
    "pass": "R_SPF_ALLOW",
    "fail": "R_SPF_FAIL",
    "softfail": "R_SPF_SOFTFAIL",
    "neutral": "R_SPF_NEUTRAL",
    "none": "R_SPF_NA",
    "temperror": "R_SPF_DNSFAIL",
    "permerror": "R_SPF_PERMFAIL",
}
_DKIM = {
    "pass": "R_DKIM_ALLOW",
    "fail": "R_DKIM_REJECT",
    "temperror": "R_DKIM_TEMPFAIL",
    "permerror": "R_DKIM_PERMFAIL",
    "policy": "R_DKIM_PERMFAIL",
    "neutral": "R_DKIM_NA",
    "none": "R_DKIM_NA",
}
_DMARC = {"none": "DMARC_NA", "temperror": "DMARC_DNSFAIL", "permerror": "DMARC_BAD_POLICY"}
_DMARC_FAIL = {
    "none": "DMARC_POLICY_SOFTFAIL",
    "quarantine": "DMARC_POLICY_QUARANTINE",
    "reject": "DMARC_POLICY_REJECT",
}
_ARC = {"none": "ARC_NA", "pass": "ARC_ALLOW", "fail": "ARC_REJECT"}


class _Answer(msgspec.Struct):
    """What `/checkv2` answers; there is more."""

    score: float
    symbols: dict[str, msgspec.Raw] = {}


_answers = msgspec.json.Decoder(_Answer)


class Rspamd:
    """Asks the first daemon that answers."""

    name = "rspamd"

    def __init__(
        self,
        urls: Sequence[str],
        *,
        controller: str = "",
        password: str = "",
        seconds: float,
        sessions: int,
    ) -> None:
        for url in filter(None, [*urls, controller]):
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"HOLUB_FILTER_RSPAMD: write http://HOST:PORT instead of {url!r}")
        self._daemons = [(url.rstrip("/"), Turn(seconds)) for url in urls]
        self._controller = (controller or urls[0]).rstrip("/")
        self._password = {"Password": password} if password else {}
        self._session = aiohttp.ClientSession(
            # The slots below are the limit: the time that is waited for one is not the daemon's.
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=seconds),
        )
        self._slots = asyncio.Semaphore(sessions)

    async def score(self, question: Question) -> Score:
        """How much like spam it looks."""
        headers = _facts(question)
        headers.extend(self._password)
        why = "every daemon failed a moment ago"
        async with self._slots:
            for url, turn in self._daemons:
                if not turn.take():
                    continue
                try:
                    status, body = await self._post(f"{url}/checkv2", headers, question.content)
                except _LOST as error:
                    turn.failed()
                    why = f"{url}: {_words(error)}"
                    log.warning("rspamd failed", daemon=url, error=_words(error))
                    continue
                turn.answered()
                return _read(status, body)
        raise Unavailable(f"rspamd: {why}")

    async def learn(self, content: bytes, *, spam: bool, owner: str) -> None:
        """Have it learn; `owner` goes along for those that keep statistics by user."""
        headers = CIMultiDict({**self._password, "Deliver-To": _fit(owner)})
        word = "learnspam" if spam else "learnham"
        try:
            status, body = await self._post(f"{self._controller}/{word}", headers, content)
        except _LOST as error:
            raise Unavailable(f"rspamd: {_words(error)}") from error
        if status not in (200, _LEARNED_BEFORE) and not _BEFORE.search(body):
            raise EngineFailed(f"rspamd: {status} {body[:200].decode('utf-8', 'replace')}")

    async def _post(self, url: str, headers: CIMultiDict[str], content: bytes) -> tuple[int, bytes]:
        # A file, and not octets, so that a large one is sent piece by piece.
        async with self._session.post(url, headers=headers, data=io.BytesIO(content)) as answer:
            body = await answer.content.read(MAX_ANSWER + 1)
            while not answer.content.at_eof() and len(body) <= MAX_ANSWER:
                body += await answer.content.read(MAX_ANSWER)
            return answer.status, body

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()
        # Its transports close in the loop's next round.
        await asyncio.sleep(0)


def _words(error: Exception) -> str:
    return str(error) or "no answer in time"


def _read(status: int, body: bytes) -> Score:
    try:
        if status != 200:
            raise ValueError(f"it answered {status}")
        answer = _answers.decode(body)
    except ValueError as error:
        raise EngineFailed(f"rspamd: {error}: {body[:200].decode('utf-8', 'replace')}") from error
    return Score("rspamd", answer.score, tuple(answer.symbols)[:MAX_TESTS])


def _facts(question: Question) -> CIMultiDict[str]:
    """The session, in the header fields of rspamd's protocol."""
    header, client = question.header, question.header.client
    version, _, cipher = client.tls.partition(" ")
    one = header.envelope.recipients[:2]
    facts = {
        "IP": client.ip,
        "Hostname": client.rdns,
        "Helo": client.helo,
        "From": header.envelope.reverse_path or "<>",
        "User": client.login,
        "Queue-Id": header.mail_id,
        "MTA-Name": header.hostname,
        "TLS-Version": version,
        "TLS-Cipher": cipher,
        "Deliver-To": one[0].address if len(one) == 1 else "",
        "Settings": _settings(question.found) if question.found else "",
    }
    fields = CIMultiDict({name: _fit(text) for name, text in facts.items() if text})
    for recipient in header.envelope.recipients:
        fields.add("Rcpt", _fit(recipient.address))
    return fields


def _settings(found: Authentication) -> str:
    """What we know of the sender, and that it need not be found again."""
    best = next((one.word for one in found.dkim if one.word == "pass"), "")
    dkim = best or (found.dkim[0].word if found.dkim else "none")
    symbols = [_SPF[found.spf.word], _DKIM[dkim], _dmarc(found), _ARC[found.arc.word]]
    settings = {"symbols_disabled": _CHECKS, "symbols": symbols}
    return msgspec.json.encode(settings).decode()


def _dmarc(found: Authentication) -> str:
    match found.dmarc.word:
        case "pass":
            return "DMARC_POLICY_ALLOW"
        case "fail":
            return _DMARC_FAIL[found.dmarc.disposition]
        case other:
            return _DMARC[other]


def _fit(text: str) -> str:
    """A stranger's words, so that they stay within one field."""
    return "".join(c if c.isprintable() else "?" for c in text)[:1000]
