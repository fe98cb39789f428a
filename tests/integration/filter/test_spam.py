"""Spam engines: the real rspamd and SpamAssassin, beside a real clamd."""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest

from libs.common.db.schema import message
from libs.common.jobs import (
    Client,
    Envelope,
    FilterJob,
    Origin,
    Recipient,
    RecordHeader,
    Verdict,
    new_mail_id,
)
from libs.common.senderauth.arc import ArcResult
from libs.common.senderauth.dmarc import DmarcResult
from libs.common.senderauth.iprev import IprevResult
from libs.common.senderauth.spf import SpfResult
from libs.protocols.message.author import Author
from services.filter import engine
from services.filter.authentication import Authentication
from services.filter.engine import Question
from services.filter.fault import Unavailable
from services.filter.settings import FilterSettings
from services.filter.spam import MARK, Spam, make_spam, open_engines
from services.platform import Platform
from tests.integration.filter.test_filter import (
    deliveries,
    environment,
    filtering,
    platform,
    put,
    rows,
    stored,
)
from tests.servers.clamd import EICAR, Clamd
from tests.servers.holub import Holub
from tests.servers.rspamd import GTUBE, JUNK, PASSWORD, Rspamd
from tests.servers.spamd import Spamd

__all__ = ["platform"]
HAM = (
    b"From: Alice <alice@other.test>\r\nTo: Bob <bob@example.test>\r\nSubject: the loft\r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@mx.other.test>\r\n\r\n"
    b"The pigeons came home before the rain, all of them, and so will I.\r\n"
)


def ham(extra: bytes = b"") -> bytes:
    return HAM % time.time_ns() + extra + b"\r\n"


def question(content: bytes, found: Authentication | None = None) -> Question:
    recipients = (Recipient(0, "bob@example.test"), Recipient(1, "eve@example.test"))
    client = Client("192.0.2.66", "host.other.test", "mx.other.test", login="somebody")
    header = RecordHeader(
        new_mail_id(),
        time.time(),
        Envelope("a@other.test", recipients),
        listener="mx",
        hostname="mail.example.test",
        client=client,
    )
    return Question(header, content, found)


def forged() -> Authentication:
    return Authentication(
        SpfResult("fail", "other.test"),
        (),
        ArcResult("none"),
        DmarcResult("fail", "other.test", "reject", "reject"),
        IprevResult("permerror"),
        Author("alice@other.test", "other.test"),
    )


@pytest.fixture(params=["rspamd", "spamd"])
async def one(request: pytest.FixtureRequest) -> AsyncIterator[SimpleNamespace]:
    """Each kind of engine: `daemon`, `settings`, `client`."""
    daemon = request.getfixturevalue(request.param)
    values = {request.param: daemon.url, "spam_seconds": 20.0, "rspamd_password": PASSWORD}
    settings = FilterSettings.load(**values)
    async with open_engines(settings) as (client,):
        yield SimpleNamespace(daemon=daemon, settings=settings, client=client)


@asynccontextmanager
async def spam(one: SimpleNamespace, **settings: object) -> AsyncIterator[Spam]:
    changed = one.settings.model_copy(update=settings)
    async with open_engines(changed) as engines:
        made = make_spam(changed, engines)
        assert made is not None
        yield made


async def test_gtube_is_rejected_a_marker_is_junk_and_ham_is_accepted(
    one: SimpleNamespace,
) -> None:
    async with spam(one) as engines:
        found = [
            await engines.conclude(question(content)) for content in (ham(GTUBE), ham(JUNK), ham())
        ]

    assert [item.verdict for item in found] == [Verdict.REJECT, Verdict.JUNK, Verdict.ACCEPT]
    assert "GTUBE" in found[0].prefix
    assert "TEST_JUNK" in found[1].prefix
    assert found[1].prefix.startswith("X-Spam-Status: Yes, score=")
    assert found[2].prefix.startswith("X-Spam-Status: No, score=")
    assert all(len(line) <= 78 for line in found[1].prefix.splitlines())


async def test_all_facts_of_the_session_are_handed_over(one: SimpleNamespace) -> None:
    score = await one.client.score(question(ham()))

    assert "TEST_SESSION" in score.tests


async def test_rspamd_is_told_who_sent_it(rspamd: Rspamd) -> None:
    settings = FilterSettings.load(rspamd=rspamd.url, rspamd_password=PASSWORD)
    async with open_engines(settings) as (client,):
        score = await client.score(question(ham(), forged()))
        unknown = await client.score(question(ham()))

    assert {"R_SPF_FAIL", "DMARC_POLICY_REJECT"} <= set(score.tests)
    assert "R_SPF_FAIL" not in unknown.tests
    assert score.points == pytest.approx(unknown.points + 3, abs=0.2)


async def test_a_large_message_is_sent_whole(one: SimpleNamespace) -> None:
    large = ham(b"".join(b"line %d of a long letter\r\n" % n for n in range(4_000)) + JUNK)

    score = await one.client.score(question(large))

    assert "TEST_JUNK" in score.tests


async def test_a_daemon_that_is_away_marks_or_holds(one: SimpleNamespace) -> None:
    nobody = {
        "rspamd": "http://127.0.0.1:1" if one.settings.rspamd else "",
        "spamd": "tcp://127.0.0.1:1" if one.settings.spamd else "",
    }
    async with spam(one, **nobody) as engines:
        marked = await engines.conclude(question(ham()))
    async with spam(one, **nobody, unscored="hold") as engines:
        with pytest.raises(Unavailable):
            await engines.conclude(question(ham()))
    async with spam(one, **nobody, unscored="hold", unscored_seconds=0.0) as engines:
        late = await engines.conclude(question(ham()))

    assert (marked.verdict, marked.prefix) == (Verdict.ACCEPT, MARK)
    assert late.verdict is Verdict.QUARANTINE


async def test_a_hung_daemon_costs_one_message_its_patience_and_is_asked_again(
    one: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REST_SECONDS", 2.0)
    async with spam(one, spam_seconds=0.5) as engines:
        one.daemon.pause()
        try:
            first = await engines.conclude(question(ham()))
            second = await engines.conclude(question(ham()))
        finally:
            one.daemon.resume()
        deadline = time.monotonic() + 20
        while (third := await engines.conclude(question(ham()))).prefix == MARK:
            assert time.monotonic() < deadline

    assert first.prefix == second.prefix == MARK
    assert "no answer in time" in first.text
    assert "failed a moment ago" in second.text
    assert third.verdict is Verdict.ACCEPT


async def test_the_next_daemon_is_asked_when_one_is_away(one: SimpleNamespace) -> None:
    kind = one.client.name
    dead = {"rspamd": "http://127.0.0.1:1", "spamd": "unix:///nowhere"}[kind]
    async with spam(one, **{kind: f"{dead}, {one.daemon.url}"}) as engines:
        found = await engines.conclude(question(ham(JUNK)))

    assert found.verdict is Verdict.JUNK


async def test_only_what_needs_a_score_is_asked_about(one: SimpleNamespace) -> None:
    asked = question(ham())
    job = FilterJob(None, asked.header)  # type: ignore[arg-type]
    mine = FilterJob(None, _replaced(asked.header, client=Client(account=7)))  # type: ignore[arg-type]
    copy = FilterJob(None, _replaced(asked.header, origin=Origin.CHILD))  # type: ignore[arg-type]
    async with spam(one) as engines:
        assert engines.wanted(job, 1000)
        assert not engines.wanted(job, one.settings.spam_max_octets + 1)
        assert not engines.wanted(mine, 1000)
        assert not engines.wanted(copy, 1000)
    async with spam(one, spam_submitted=True) as engines:
        assert engines.wanted(mine, 1000)


def _replaced(header: RecordHeader, **fields: object) -> RecordHeader:
    return msgspec.structs.replace(header, **fields)


def advert() -> bytes:
    return (
        b"From: shop@other.test\r\nSubject: winners\r\nMessage-ID: <%d@shop.other.test>\r\n\r\n"
        b"Cheap watches and miracle pills, order now, limited offer, lottery casino bonus.\r\n"
    ) % time.time_ns()


def letter() -> bytes:
    """In words that no other test teaches a daemon: it is in the inbox whatever these know."""
    return (
        b"From: cousin@other.test\r\nSubject: kites\r\nMessage-ID: <%d@far.other.test>\r\n\r\n"
        b"Seven paper kites stood above the harbour wall, blue and yellow, until evening.\r\n"
    ) % time.time_ns()


async def test_spamassassin_learns(spamd: Spamd) -> None:
    async with open_engines(FilterSettings.load(spamd=spamd.url)) as (client,):
        for _ in range(2):
            await client.learn(ham(), spam=False, owner="bob@example.test")
            await client.learn(advert(), spam=True, owner="bob@example.test")

        score = await client.score(question(advert()))

    assert {"BAYES_99", "BAYES_95", "BAYES_80"} & set(score.tests)


async def test_rspamd_learns_once_what_it_is_told_twice(rspamd: Rspamd) -> None:
    settings = FilterSettings.load(rspamd=rspamd.url, rspamd_password=PASSWORD)
    before, wanted, unwanted = rspamd.learned(), ham(), advert()
    async with open_engines(settings) as (client,):
        for _ in range(2):
            await client.learn(wanted, spam=False, owner="bob@example.test")
            await client.learn(unwanted, spam=True, owner="bob@example.test")

    assert rspamd.learned() == before + 2


@pytest.fixture(scope="module")
def holub(
    tmp_path_factory: pytest.TempPathFactory, clamd: Clamd, rspamd: Rspamd, spamd: Spamd
) -> Iterator[Holub]:
    settings = {
        "HOLUB_FILTER_CLAMD": clamd.url,
        "HOLUB_FILTER_CLAMD_MAX_OCTETS": "200000",
        "HOLUB_FILTER_RSPAMD": rspamd.url,
        "HOLUB_FILTER_RSPAMD_PASSWORD": PASSWORD,
        "HOLUB_FILTER_SPAMD": spamd.url,
        "HOLUB_FILTER_DMARC": "off",
    }
    holub = Holub(tmp_path_factory.mktemp("spam"), settings)
    holub.prepare("alice", "bob")
    holub.start("all")
    yield holub
    holub.kill()


@pytest.mark.parametrize("mark", [GTUBE, EICAR])
def test_what_is_rejected_is_refused_before_the_250(holub: Holub, mark: bytes) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        holub.send(ham(mark), "alice@example.test")

    assert refused.value.smtp_code == 550
    assert b"5.7.1" in refused.value.smtp_error
    assert (b"malware" in refused.value.smtp_error) is (mark == EICAR)


def test_junk_lands_in_junk_and_ham_in_the_inbox_with_both_scores(holub: Holub) -> None:
    holub.send(ham(JUNK), "alice@example.test")
    holub.send(ham(), "alice@example.test")

    (junk,) = holub.wait_for("alice", 1, "Junk")
    (wanted,) = holub.wait_for("alice", 1)
    assert JUNK in junk
    assert junk.count(b"X-Spam-Status: Yes") == 2
    assert wanted.count(b"X-Spam-Status: No") == 2
    assert b"engine=rspamd" in wanted
    assert b"engine=spamd" in wanted
    assert "spamd" in holub.must("trace", "alice@example.test", "--json")


def test_a_move_into_junk_and_one_out_of_it_are_learned(holub: Holub, rspamd: Rspamd) -> None:
    before = rspamd.learned()
    holub.send(letter(), "bob@example.test")
    holub.wait_for("bob", 1)
    with holub.imap("bob") as client:
        client.select("INBOX")
        assert client.uid("MOVE", "1", "Junk")[0] == "OK"
    _until(lambda: rspamd.learned() == before + 1)

    holub.send(ham(JUNK), "bob@example.test")
    holub.wait_for("bob", 2, "Junk")
    with holub.imap("bob") as client:
        client.select("Junk")
        assert client.uid("COPY", "2", "INBOX")[0] == "OK"
    _until(lambda: rspamd.learned() == before + 2)


def test_results_that_a_stranger_forged_in_our_name_are_shown_otherwise(holub: Holub) -> None:
    plain = b"Authentication-Results: other.test; spf=pass\r\n" + ham()
    name = b"mail.example.test"
    forged = b"AUTHENTICATION-results: " + name + b"; dkim=pass\r\n" + plain
    before = holub.count("bob")
    holub.send(forged, "bob@example.test")

    shown = holub.wait_for("bob", before + 1)[-1]

    assert shown.endswith(b"X-Removed-Auth-Results: " + name + b"; dkim=pass\r\n" + plain)
    with holub.imap("bob") as client:
        client.select("INBOX", readonly=True)
        asked = "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (Authentication-Results)])"
        _, answer = client.fetch(str(before + 1), asked)
    assert f"RFC822.SIZE {len(shown)}".encode() in answer[0][0]
    assert b"dkim=pass" not in answer[0][1]
    assert b"other.test; spf=pass" in answer[0][1]


def test_held_mail_is_released_to_each_recipient_once(holub: Holub) -> None:
    before = {name: holub.count(name) for name in ("alice", "bob")}
    large = ham(b"a line of a large letter that no scanner takes\r\n" * 6000)
    mail_id = holub.send(large, "alice@example.test", "bob@example.test").strip("()")

    holub.must("quarantine", "release", mail_id, "--recipient", "1")
    holub.wait_for("bob", before["bob"] + 1)
    assert holub.count("alice") == before["alice"]
    holub.must("quarantine", "release", mail_id, "--recipient", "0")
    assert "released already" in holub.command("quarantine", "release", mail_id).stderr

    arrived = holub.wait_for("alice", before["alice"] + 1)
    assert any(large in one for one in arrived)
    assert holub.count("bob") == before["bob"] + 1


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


async def test_without_its_daemons_mail_goes_on_and_says_so(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, rspamd="http://127.0.0.1:1", spamd="tcp://127.0.0.1:1")
    job = await stored(platform, ham(GTUBE))

    async with filtering(platform):
        await put(platform, job)
        (onward,) = await deliveries(platform, 1)

    assert (onward.verdict, onward.prefix) == (Verdict.ACCEPT, MARK)


async def test_by_policy_mail_waits_for_a_daemon(
    platform: Platform, rspamd: Rspamd, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, rspamd="http://127.0.0.1:1", unscored="hold")
    job = await stored(platform, ham(JUNK))
    job = FilterJob(job.blob, _replaced(job.header, received_at=time.time()))
    async with filtering(platform):
        await put(platform, job)
        await asyncio.sleep(0.5)
        assert not await rows(platform, message)
    environment(monkeypatch, rspamd=rspamd.url, rspamd_password=PASSWORD, unscored="hold")

    async with filtering(platform):
        (onward,) = await deliveries(platform, 1)

    assert onward.verdict is Verdict.JUNK
