"""The doctor over real DNS (knot and a validating unbound) and a real mail host (our ingress)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common.accounts.dkim_keys import make_key
from libs.common.admin.doctor import Finding, Site, examine, records_for
from libs.common.admin.doctor.records import as_endpoint, as_zone
from libs.common.dns import StaticResolver, open_resolver
from tests.servers.dns import Dns
from tests.servers.holub import Holub

DOMAIN = "plain.test"


@pytest.fixture(scope="module")
def holub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holub]:
    holub = Holub(tmp_path_factory.mktemp("doctor"), {"HOLUB_INGRESS_HOSTNAME": "localhost"})
    holub.prepare("alice")
    holub.start("ingress", "filter")
    yield holub
    holub.kill()


async def look(dns: Dns, holub: Holub, domain: str = DOMAIN) -> dict[str, Finding]:
    site = Site("localhost", smtp_port=holub.ports["smtp"])
    resolver = open_resolver(dns.servers)
    try:
        return {item.check: item for item in await examine(resolver, domain, site)}
    finally:
        await resolver.close()


def publish(dns: Dns, mail_host: str = "localhost") -> None:
    for record in records_for(DOMAIN, mail_host):
        if record.type != "SRV":
            value = f'"{record.value}"' if record.type == "TXT" else record.value
            dns.set(record.name, record.type, [value])


async def test_a_domain_that_publishes_what_we_say_is_well(dns: Dns, holub: Holub) -> None:
    publish(dns)

    found = await look(dns, holub)

    for check in ("MX", "SPF", "DMARC", "MTA-STS", "TLS-RPT"):
        wrong = check != "MTA-STS" and found[check].status != "ok"
        assert not wrong, found[check]
    assert found["EHLO name"].status == "ok"
    assert found["open relay"].status == "ok"
    assert "5" in found["open relay"].found


@pytest.mark.parametrize(
    ("owner", "kind", "values", "check", "status", "word"),
    [
        ("", "MX", [], "MX", "wrong", "no MX"),
        ("", "MX", ["10 other.test."], "MX", "wrong", "other.test"),
        ("", "MX", ["10 localhost.", "20 other.test."], "MX", "warning", "other.test"),
        ("", "TXT", [], "SPF", "wrong", "no SPF"),
        ("", "TXT", ['"v=spf1 mx -all"', '"v=spf1 -all"'], "SPF", "wrong", "|"),
        ("", "TXT", ['"v=spf1 +all"'], "SPF", "wrong", "+all"),
        ("", "TXT", ['"v=spf1 mx"'], "SPF", "warning", "mx"),
        ("_dmarc.", "TXT", [], "DMARC", "wrong", "no record"),
        ("_dmarc.", "TXT", ['"v=DMARC1; p=none"'], "DMARC", "warning", "p=none"),
        ("_mta-sts.", "TXT", ['"v=STSv1; id=old"'], "MTA-STS", "warning", "old"),
        ("_smtp._tls.", "TXT", [], "TLS-RPT", "wrong", "no record"),
    ],
)
async def test_what_is_wrong_is_named_with_what_to_publish(
    dns: Dns,
    holub: Holub,
    owner: str,
    kind: str,
    values: list[str],
    check: str,
    status: str,
    word: str,
) -> None:
    publish(dns)
    dns.set(f"{owner}{DOMAIN}", kind, values)

    found = (await look(dns, holub))[check]

    assert found.status == status, found
    assert word in found.found
    assert found.publish.startswith(f"{owner}{DOMAIN} {kind} ")
    assert found.why


async def test_a_certificate_that_nobody_trusts_is_wrong(dns: Dns, holub: Holub) -> None:
    found = (await look(dns, holub))["certificate"]

    assert found.status == "wrong"
    assert "HOLUB_TLS_CERTIFICATE" in found.publish


async def test_no_answer_is_unknown_and_disturbs_no_other_check(dns: Dns, holub: Holub) -> None:
    found = await look(dns, holub, "bogus.test")

    assert found["MX"].status == "unknown"
    assert found["open relay"].status == "ok"


async def test_an_open_relay_is_found() -> None:
    """A server that takes everything, as nobody should."""
    import asyncio

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 open\r\n")
        while await reader.readline():
            writer.write(b"250 open.test\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    site = Site("127.0.0.1", smtp_port=port)
    found = {item.check: item for item in await examine(StaticResolver({}), "x.test", site)}
    server.close()

    assert found["open relay"].status == "wrong"
    assert found["EHLO name"].status == "wrong"
    assert found["certificate"].found == "STARTTLS is not offered"


async def test_egress_addresses_need_a_name_and_a_good_name() -> None:
    records = {
        ("1.2.0.192.in-addr.arpa", "PTR"): ["mail.x.test"],
        ("mail.x.test", "A"): ["192.0.2.1"],
        ("2.2.0.192.in-addr.arpa", "PTR"): ["host.x.test"],
        ("host.x.test", "A"): ["192.0.2.9"],
        ("2.2.0.192.bl.test", "A"): ["127.0.0.2"],
        ("3.2.0.192.bl.test", "A"): ["127.255.255.254"],
    }
    egress = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    site = Site("mail.x.test", egress, ("bl.test",), smtp_port=1)
    found = await examine(StaticResolver(records), "x.test", site)
    status = {item.check: item.status for item in found}

    assert [status[f"PTR {a}"] for a in egress] == ["ok", "wrong", "wrong"]
    assert [status[f"DNSBL {a}"] for a in egress] == ["ok", "wrong", "unknown"]


def test_a_zone_with_our_records_is_loaded_by_a_name_server(dns: Dns) -> None:
    """As knot takes each line, so will others."""
    for line in as_zone(records_for("signed.test", "mail.signed.test")).splitlines():
        owner, ttl, _, kind, value = line.split(" ", 4)
        dns.set(owner.rstrip("."), kind, [value], int(ttl))


def test_an_endpoint_is_yaml_with_each_record() -> None:
    text = as_endpoint("x.test", records_for("x.test", "mail.x.test"))

    assert text.count("dnsName:") == len(records_for("x.test", "mail.x.test"))
    assert "targets: ['10 mail.x.test']" in text


def test_quickstart_can_be_run_twice_and_says_what_next(holub: Holub) -> None:
    first = holub.must("quickstart", "new.test", "--form", "zone")
    second = holub.must("quickstart", "new.test", "--form", "zone")

    assert "password " in first
    assert "new.test. 3600 IN MX 10" in first
    assert "holub doctor new.test" in first
    assert "was one of your domains already" in second
    assert "there already" in second


async def test_policy_and_set_up_are_served_for_our_domains_only(
    holub: Holub,
) -> None:
    import urllib.error
    import urllib.request

    holub.start("api", env={"HOLUB_API_MAIL_HOST": "mail.example.test"})

    def fetch(path: str, host: str) -> str:
        url = f"http://127.0.0.1:{holub.ports['api']}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host})) as answer:
            return str(answer.read().decode())

    policy = fetch("/.well-known/mta-sts.txt", "mta-sts.example.test")
    assert "mx: mail.example.test\r\n" in policy
    set_up = fetch("/mail/config-v1.1.xml", "autoconfig.example.test")
    assert "<hostname>mail.example.test</hostname>" in set_up
    for host in ("mta-sts.other.test", "example.test", "mta-sts."):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch("/.well-known/mta-sts.txt", host)


async def test_a_dkim_key_is_looked_for_where_it_must_be(dns: Dns) -> None:
    name = f"s1._domainkey.{DOMAIN}"
    keys = [make_key(DOMAIN, "ed25519-sha256", "s1") for _ in range(2)]
    row = {"selector": "s1", "state": "signing", "name": name, "record": keys[0].record}

    async def found(**more: str) -> tuple[str, str]:
        resolver = open_resolver(dns.servers)
        all_found = await examine(resolver, DOMAIN, Site("localhost", smtp_port=1), [row | more])
        await resolver.close()
        finding = next(item for item in all_found if item.check == "DKIM s1")
        return finding.status, finding.publish

    try:
        dns.set(name, "TXT", [])
        assert await found() == ("wrong", f"{name} TXT {keys[0].record}")
        assert (await found(state="new"))[0] == "warning"
        dns.set(name, "TXT", [f'"{keys[1].record}"'])
        assert (await found())[0] == "wrong"
        dns.set(name, "TXT", ['"v=DKIM1; p="'])
        assert (await found())[0] == "wrong"
        dns.set(name, "TXT", [f'"{keys[0].record}"'])
        assert (await found())[0] == "ok"
    finally:
        dns.set(name, "TXT", [])
