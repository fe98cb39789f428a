"""What is asked of strangers before DATA, with real DNS: knot has the lists, unbound is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from libs.common.accounts.screening import Mode
from libs.common.db.schema import domain, greylist
from libs.common.dns import Resolver, open_resolver
from services.ingress.settings import MxSettings
from tests.integration.ingress.ingress import ALICE, DAVE, DOMAIN, OTHER_DOMAIN, Ingress, running
from tests.servers.dns import REVERSE, Dns

CLEAN, LISTED, WELCOME = "192.0.2.9", "192.0.2.66", "192.0.2.10"
LIST, ALLOW = "bl.plain.test", "allow.plain.test"


@pytest.fixture(scope="module")
def lists(dns: Dns) -> Dns:
    """The lists and the names of the addresses."""
    dns.set(f"66.2.0.192.{LIST}", "A", ["127.0.0.2"])
    dns.set(f"66.2.0.192.{LIST}", "TXT", ['"sends what nobody asked for"'])
    dns.set(f"66.2.0.192.dead.{LIST}", "A", ["127.0.0.2"])
    dns.set(f"1.0.0.127.dead.{LIST}", "A", ["127.0.0.2"])
    dns.set(f"10.2.0.192.{LIST}", "A", ["127.0.0.2"])
    dns.set(f"10.2.0.192.{ALLOW}", "A", ["127.0.1.3"])
    dns.set(f"9.{REVERSE}", "PTR", ["client.plain.test."])
    dns.set("client.plain.test", "A", [CLEAN])
    dns.set(f"66.{REVERSE}", "PTR", ["mx.plain.test."])
    return dns


def resolver(dns: Dns) -> Resolver:
    return open_resolver(dns.servers)


async def say(
    ingress: Ingress, ip: str, *, to: str = ALICE, helo: str = "client.plain.test"
) -> bytes:
    """A whole message from that address; everything that was answered."""
    commands = f"XCLIENT ADDR={ip}\r\nEHLO {helo}\r\nMAIL FROM:<you@elsewhere.example>\r\n"
    return await ingress.converse(
        (f"EHLO x\r\n{commands}RCPT TO:<{to}>\r\nDATA\r\n").encode() + b"x\r\n.\r\nQUIT\r\n"
    )


async def policy_of(ingress: Ingress) -> tuple[str, ...]:
    """Of the only message."""
    ((record, _),) = await ingress.records()
    return record.policy


async def choose(ingress: Ingress, name: str, choices: str) -> None:
    async with ingress.database.transaction() as transaction:
        await transaction.execute(
            update(domain).where(domain.c.name == name).values(screening=choices)
        )


async def test_who_is_on_a_list_is_refused_with_its_reason_and_others_are_not(
    tmp_path: Path, lists: Dns
) -> None:
    mx = MxSettings(dns_seconds=20, zones=LIST, pipelining=Mode.OFF)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        refused = await say(ingress, LISTED)
        postmaster = await say(ingress, LISTED, to=f"postmaster@{DOMAIN}")
        await say(ingress, CLEAN)

        (told, _), (clean, _) = await ingress.records()
    assert b"550 5.7.1 192.0.2.66 is on the list bl.plain.test: sends what nobody" in refused
    assert b"250 2.0.0 queued" in postmaster  # or nobody could say that the list is wrong
    assert told.policy == (f"dnsbl=listed:{LIST}",)
    assert clean.policy == ("dnsbl=pass",)


async def test_weights_of_lists_are_summed(tmp_path: Path, lists: Dns) -> None:
    mx = MxSettings(dns_seconds=20, zones=f"{LIST}=127.0.0.2*3, {ALLOW}*-2", pipelining=Mode.OFF)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        refused, taken = await say(ingress, LISTED), await say(ingress, WELCOME)

        assert await policy_of(ingress) == (f"dnsbl=score=1:{LIST},{ALLOW}",)
    assert b"(rule dnsbl)" in refused
    assert b"250 2.0.0 queued" in taken


@pytest.mark.parametrize("zone", ["bl.bogus.test", f"dead.{LIST}"])
async def test_a_list_that_fails_or_lists_everybody_refuses_nobody(
    tmp_path: Path, lists: Dns, zone: str
) -> None:
    mx = MxSettings(dns_seconds=20, zones=zone, iprev=Mode.NOTE)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        got = await say(ingress, LISTED)

    assert b"250 2.0.0 queued" in got


async def test_dns_that_is_away_refuses_nobody(tmp_path: Path) -> None:
    mx = MxSettings(
        zones=LIST, iprev=Mode.REFUSE, helo=Mode.REFUSE, dns_seconds=0.3, pipelining=Mode.OFF
    )
    async with running(
        tmp_path, mx=mx, resolver=open_resolver("127.0.0.1:9"), xclient_networks="127.0.0.1"
    ) as ingress:
        await say(ingress, LISTED)

        assert await policy_of(ingress) == ("dnsbl=temperror", "iprev=temperror", "helo=temperror")


async def test_a_name_that_does_not_lead_back_is_refused_where_the_rule_is_in_force(
    tmp_path: Path, lists: Dns
) -> None:
    mx = MxSettings(dns_seconds=20, iprev=Mode.REFUSE)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        nameless, wrong = await say(ingress, WELCOME), await say(ingress, LISTED)
        await say(ingress, CLEAN)

        ((record, _),) = await ingress.records()
    assert b"550 5.7.25 192.0.2.10 has no name in DNS" in nameless
    assert b"550 5.7.25 the name of 192.0.2.66 in DNS does not lead back" in wrong
    assert record.client.rdns == "client.plain.test"


async def test_the_name_in_helo_is_one_of_a_mail_host(tmp_path: Path, lists: Dns) -> None:
    names = {
        "mx.plain.test": "pass",
        f"[{CLEAN}]": "pass",
        "localhost": "invalid",
        "192.0.2.9": "invalid",
        "mail.example.test": "ours",
        "[192.0.2.1]": "mismatch",
        "nobody.plain.test": "unknown",
        "mx.bogus.test": "temperror",
    }
    mx = MxSettings(dns_seconds=20, helo=Mode.NOTE, pipelining=Mode.OFF)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        for helo in names:
            await say(ingress, CLEAN, helo=helo)

        found = [record.policy for record, _ in await ingress.records()]
    assert found == [(f"helo={outcome}",) for outcome in names.values()]


async def test_a_domain_chooses_for_itself_what_refuses(tmp_path: Path, lists: Dns) -> None:
    mx = MxSettings(dns_seconds=20, zones=LIST, helo=Mode.NOTE)
    async with running(
        tmp_path, mx=mx, resolver=resolver(lists), xclient_networks="127.0.0.1"
    ) as ingress:
        await choose(ingress, DOMAIN, "dnsbl=off, helo=refuse")
        await choose(ingress, OTHER_DOMAIN, "dnsbl=note, helo=off, pipelining=off")
        helo = await say(ingress, LISTED, helo="x")
        noted = await say(ingress, LISTED, to=DAVE, helo="x")

        assert await policy_of(ingress) == (f"dnsbl=listed:{LIST}",)
    assert b"(rule helo)" in helo
    assert b"250 2.0.0 queued" in noted


async def test_who_logs_in_or_comes_by_lmtp_is_asked_nothing(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", connections=1, early_talk="close", pipelining="close")
    async with running(tmp_path, mx=mx) as ingress:
        talk = f"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\nx\r\n.\r\n".encode()

        got = await asyncio.gather(*(ingress.converse(talk, listener="lmtp") for _ in range(3)))

        records = await ingress.records()
    assert [reply.count(b"250 2.0.0 queued") for reply in got] == [1, 1, 1]
    assert {record.policy for record, _ in records} == {()}


@pytest.mark.parametrize(
    ("talk", "reply"),
    [
        (b"EHLO x\r\n", b"554 5.5.0 you spoke before our greeting (rule early_talk)\r\n"),
        (b"", b"220 "),
    ],
)
async def test_who_speaks_before_the_greeting_hears_nothing_else(
    tmp_path: Path, talk: bytes, reply: bytes
) -> None:
    mx = MxSettings(exempt_networks="", greeting_seconds=2, early_talk="close")
    async with running(tmp_path, mx=mx) as ingress:
        got = await ingress.converse(talk)

    assert got.startswith(reply)
    assert got.count(b"\r\n") == 1


@pytest.mark.parametrize("ahead", [b"EHLO x\r\nMAIL FROM:<>\r\n", b"HELO x\r\nNOOP\r\n"])
async def test_who_does_not_wait_is_hung_up_on(tmp_path: Path, ahead: bytes) -> None:
    """S4: what was pipelined is never executed."""
    mx = MxSettings(exempt_networks="", pipelining="close")
    async with running(tmp_path, mx=mx) as ingress:
        got = await ingress.converse(ahead)

    assert got.split(b"\r\n")[1].startswith(b"554 5.5.0 you did not wait")
    assert got.count(b"\r\n") == 2


async def test_commands_that_do_not_wait_for_the_reply_to_ehlo_are_noted(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", pipelining=Mode.NOTE)
    head = f"MAIL FROM:<>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n".encode()
    async with running(tmp_path, mx=mx) as ingress:
        await ingress.converse(b"EHLO x\r\n" + head + b"x\r\n.\r\n")

        assert await policy_of(ingress) == ("pipelining=after-EHLO",)


async def test_no_address_fills_the_mailbox_of_postmaster(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", required_per_hour=3)
    talk = f"MAIL FROM:<>\r\nRCPT TO:<postmaster@{DOMAIN}>\r\nRSET\r\n".encode()
    async with running(tmp_path, mx=mx) as ingress:
        got = await ingress.converse(b"EHLO x\r\n" + talk * 4)

    assert got.count(b"250 2.1.5") == 3
    assert b"450 4.7.1 3 reports in a hour are the limit for your address" in got


async def test_one_address_has_so_many_sessions_in_all_replicas_together(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", connections=3)
    async with running(tmp_path, mx=mx) as one, running(tmp_path, mx=mx) as other:
        held = [await asyncio.open_connection("127.0.0.1", one.ports["mx"]) for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"220 ")
        await one.limits.exchange()
        first = await asyncio.open_connection("127.0.0.1", other.ports["mx"])
        assert (await first[0].readline()).startswith(b"220 ")
        # An exchange of its own may be under way, and has then taken what there is to tell.
        async with asyncio.timeout(30):
            while b"421 4.7.0" not in (refused := await other.converse()):
                await asyncio.gather(one.limits.exchange(), other.limits.exchange())
        for _, writer in (*held, first):
            writer.close()
    assert refused.startswith(b"421 4.7.0 too many connections of 127.0.0.1 at once")


async def test_who_asks_too_often_or_guesses_hears_so_and_comes_again_later(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", messages_per_hour=2, unknown_per_hour=3)
    (tmp_path / "other").mkdir()
    async with running(tmp_path, mx=mx) as ingress:
        often = await ingress.converse(b"EHLO x\r\n" + b"MAIL FROM:<>\r\nRSET\r\n" * 3)
        guess = b"".join(b"RCPT TO:<nobody%d@example.test>\r\n" % n for n in range(5))
        guessed = await ingress.converse(b"EHLO x\r\n" + b"MAIL FROM:<>\r\n" + guess)

        async with running(tmp_path / "other", mx=mx) as fresh:
            unknown = await fresh.converse(b"EHLO x\r\nMAIL FROM:<>\r\n" + guess)
            again = await fresh.converse()
    assert often.count(b"250 2.1.0") == 2
    assert b"450 4.7.1 2 messages in a hour" in often
    assert b"450 4.7.1" in guessed
    assert unknown.count(b"550 5.1.1") == 3
    assert b"\r\n421 4.7.1" in unknown
    assert again.startswith(b"421 4.7.1 3 unknown-recipients")


async def test_a_stranger_is_asked_to_come_again_and_then_is_welcome(tmp_path: Path) -> None:
    mx = MxSettings(greylist=Mode.REFUSE, greylist_seconds=3600, greylist_welcome_after=1)
    async with running(tmp_path, mx=mx, xclient_networks="127.0.0.1") as ingress:
        first, soon = await say(ingress, CLEAN), await say(ingress, CLEAN)
        async with ingress.database.transaction() as transaction:
            an_hour_ago = update(greylist).values(first_at=greylist.c.first_at - 3600)
            await transaction.execute(an_hour_ago)
        later = await say(ingress, CLEAN)
        neighbour = await say(ingress, WELCOME, to=f"bob@{DOMAIN}")

        policies = [record.policy[-1] for record, _ in await ingress.records()]
    assert b"451 4.7.1 you are new here; please try again in 3600 seconds (rule greylist)" in first
    assert b"(rule greylist)" in soon
    assert b"250 2.0.0 queued" in later
    assert b"250 2.0.0 queued" in neighbour
    assert policies == ["greylist=returned", "greylist=welcome"]


async def test_bounces_and_postmaster_are_not_greylisted(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", greylist=Mode.REFUSE)
    bounce = f"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{ALICE}>\r\nRSET\r\n".encode()
    asks = f"MAIL FROM:<you@elsewhere.example>\r\nRCPT TO:<PostMaster@{DOMAIN}>\r\n".encode()
    async with running(tmp_path, mx=mx) as ingress:
        got = await ingress.converse(bounce + asks)

    assert got.count(b"250 2.1.5") == 2


async def test_refused_commands_take_longer_and_longer(tmp_path: Path) -> None:
    mx = MxSettings(exempt_networks="", tarpit_after=2, tarpit_seconds=0.2)
    async with running(tmp_path, mx=mx) as ingress:
        began = asyncio.get_running_loop().time()
        got = await ingress.converse(b"MAIL FROM:<>\r\n" * 4)

        took = asyncio.get_running_loop().time() - began
    assert got.count(b"503 5.5.1") == 4
    assert took >= 0.2 + 0.4
