"""Looking at a domain from outside: each finding says what is there, what to publish, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from libs.common.admin.doctor.mail_host import Greeting, greet
from libs.common.admin.doctor.records import Record, records_for
from libs.common.dns import DnsUnavailable
from libs.common.dns.answer import Resolver
from libs.common.senderauth.key import BadKey, fetch_key, is_published

SECONDS = 20.0
"""All questions of one check together."""
_LISTED = "127."


@dataclass(frozen=True, slots=True)
class Site:
    """What this installation is called and from where it sends."""

    mail_host: str
    egress: tuple[str, ...] = ()
    dnsbls: tuple[str, ...] = ()
    mta_sts_mode: str = "testing"
    smtp_port: int = 25


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    status: str
    """ok, warning, wrong, or unknown (nobody answered: ask again later)."""
    found: str
    publish: str
    """What to publish or do; empty when nothing."""
    why: str


Check = Callable[[], Awaitable[list[Finding]]]


async def examine(
    resolver: Resolver, domain: str, site: Site, keys: Sequence[Mapping[str, Any]] = ()
) -> list[Finding]:
    """All checks at once; one that gets no answer is `unknown` and disturbs no other.

    `keys` are the domain's DKIM keys, as `libs.common.admin.dkim` lists them.
    """
    wanted = {(r.name, r.type): r for r in records_for(domain, site.mail_host, site.mta_sts_mode)}
    checks: list[tuple[str, Check]] = [
        ("MX", lambda: _mx(resolver, domain, site, wanted)),
        ("SPF", lambda: _spf(resolver, domain, wanted)),
        ("DMARC", lambda: _tagged(resolver, "DMARC", wanted[f"_dmarc.{domain}", "TXT"])),
        *((_dkim_name(key), lambda key=key: _dkim(resolver, key)) for key in keys),
        ("MTA-STS", lambda: _tagged(resolver, "MTA-STS", wanted[f"_mta-sts.{domain}", "TXT"])),
        ("TLS-RPT", lambda: _tagged(resolver, "TLS-RPT", wanted[f"_smtp._tls.{domain}", "TXT"])),
        ("mail host", lambda: _host(resolver, site)),
        *((f"PTR {a}", lambda a=a: _ptr(resolver, a)) for a in site.egress),
        *((f"DNSBL {a}", lambda a=a: _dnsbl(resolver, a, site.dnsbls)) for a in site.egress),
        ("SMTP", lambda: _smtp(site)),
    ]
    found = await asyncio.gather(*(_safely(name, check) for name, check in checks))
    return [finding for findings in found for finding in findings]


async def _safely(name: str, check: Check) -> list[Finding]:
    try:
        return await asyncio.wait_for(check(), SECONDS)
    except (DnsUnavailable, TimeoutError, OSError) as error:
        text = str(error) or f"no answer within {SECONDS:.0f} s"
        return [Finding(name, "unknown", text, "", "nobody answered; ask again later")]


def _ok(check: str, found: str, why: str) -> Finding:
    return Finding(check, "ok", found, "", why)


def _publish(record: Record) -> str:
    return f"{record.name} {record.type} {record.value}"


async def _mx(
    resolver: Resolver, domain: str, site: Site, wanted: dict[tuple[str, str], Record]
) -> list[Finding]:
    record = wanted[domain, "MX"]
    answer = await resolver.mx(domain)
    hosts = [mx.host.rstrip(".").lower() for mx in answer.records]
    if not answer.exists:
        text = "the name does not exist in DNS"
        return [Finding("MX", "wrong", text, _publish(record), "nobody can reach the domain")]
    if not hosts:
        return [Finding("MX", "wrong", "no MX record", _publish(record), record.why)]
    others = [host for host in hosts if host != site.mail_host]
    if site.mail_host not in hosts:
        why = "mail for the domain goes elsewhere"
        return [Finding("MX", "wrong", ", ".join(hosts), _publish(record), why)]
    if others:
        why = "mail may also go to hosts that this platform does not know"
        return [Finding("MX", "warning", ", ".join(hosts), _publish(record), why)]
    return [_ok("MX", ", ".join(hosts), record.why)]


async def _texts(resolver: Resolver, name: str, version: str) -> list[str]:
    answer = await resolver.txt(name)
    texts = [raw.decode("ascii", "replace") for raw in answer.records]
    low = version.lower()
    return [t for t in texts if t.lower() == low or t.lower().startswith((f"{low} ", f"{low};"))]


async def _spf(
    resolver: Resolver, domain: str, wanted: dict[tuple[str, str], Record]
) -> list[Finding]:
    record = wanted[domain, "TXT"]
    texts = await _texts(resolver, domain, "v=spf1")
    if not texts:
        return [Finding("SPF", "wrong", "no SPF record", _publish(record), record.why)]
    if len(texts) > 1:
        why = "more than one makes every check fail (RFC 7208 §4.5)"
        return [Finding("SPF", "wrong", " | ".join(texts), _publish(record), why)]
    ends = texts[0].lower().split()
    if "+all" in ends or "all" in ends:
        why = "it lets everybody send in your name"
        return [Finding("SPF", "wrong", texts[0], _publish(record), why)]
    if not any(t.endswith("all") or t.startswith("redirect=") for t in ends):
        why = "without -all or ~all at its end it forbids nobody"
        return [Finding("SPF", "warning", texts[0], _publish(record), why)]
    return [_ok("SPF", texts[0], record.why)]


async def _tagged(resolver: Resolver, check: str, record: Record) -> list[Finding]:
    version = record.value.split(";")[0]
    texts = await _texts(resolver, record.name, version)
    if not texts:
        return [Finding(check, "wrong", "no record", _publish(record), record.why)]
    if len(texts) > 1:
        why = "more than one counts as none"
        return [Finding(check, "wrong", " | ".join(texts), _publish(record), why)]
    parts = [part.partition("=") for part in texts[0].split(";")]
    tags = {name.strip().lower(): value.strip() for name, _, value in parts}
    if check == "DMARC" and tags.get("p", "none").lower() == "none":
        why = "p=none only watches: forged mail is still delivered"
        return [Finding(check, "warning", texts[0], _publish(record), why)]
    if check == "MTA-STS" and tags.get("id") != record.value.partition("id=")[2]:
        why = "the id must change with the policy, or senders keep the old one (RFC 8461 §3.1)"
        return [Finding(check, "warning", texts[0], _publish(record), why)]
    return [_ok(check, texts[0], record.why)]


def _dkim_name(key: Mapping[str, Any]) -> str:
    return f"DKIM {key['selector']}"


async def _dkim(resolver: Resolver, key: Mapping[str, Any]) -> list[Finding]:
    """Is the key that signs there, so that others can check?  A retired one is of no interest."""
    if key["state"] == "retired":
        return []
    check, publish = _dkim_name(key), f"{key['name']} TXT {key['record']}"
    why = "others check your signatures with it (RFC 6376); a new key waits until it is here"
    if (await resolver.txt(key["name"])).records:
        try:
            await fetch_key(resolver, key["name"].partition("._domainkey.")[2], key["selector"])
        except BadKey as error:
            return [Finding(check, "wrong", str(error), publish, why)]
        if await is_published(resolver, key["name"], key["record"]):
            return [_ok(check, f"there, {key['state']}", why)]
        return [Finding(check, "wrong", "it is another key", publish, why)]
    status = "warning" if key["state"] == "new" else "wrong"
    return [Finding(check, status, f"not there, {key['state']}", publish, why)]


async def _addresses(resolver: Resolver, name: str) -> list[str]:
    four, six = await asyncio.gather(resolver.a(name), resolver.aaaa(name))
    return [*four.records, *six.records]


async def _host(resolver: Resolver, site: Site) -> list[Finding]:
    addresses = await _addresses(resolver, site.mail_host)
    if not addresses:
        publish = f"{site.mail_host} A your address"
        why = "the MX record leads to a name without an address"
        return [Finding("mail host", "wrong", "no address", publish, why)]
    return [_ok("mail host", ", ".join(addresses), "the MX record leads to it")]


async def _ptr(resolver: Resolver, address: str) -> list[Finding]:
    check = f"PTR {address}"
    names = (await resolver.ptr(address)).records
    why = "many hosts refuse mail from addresses whose name does not lead back to them"
    publish = "ask the owner of the address (your provider) for a PTR record to your mail host"
    if not names:
        return [Finding(check, "wrong", "no PTR record", publish, why)]
    for name in names:
        forward = {ip_address(item) for item in await _addresses(resolver, name)}
        if ip_address(address) in forward:
            return [_ok(check, name.rstrip("."), why)]
    found = f"{', '.join(names)} does not lead back"
    return [Finding(check, "wrong", found, f"an address record of {names[0]} to {address}", why)]


async def _dnsbl(resolver: Resolver, address: str, lists: Sequence[str]) -> list[Finding]:
    ip = ip_address(address)
    reverse = ip.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    answers = await asyncio.gather(*(resolver.a(f"{reverse}.{zone}") for zone in lists))
    # 127.255.255.x says that the list refuses to answer us (as Spamhaus does), not a listing.
    hits = {
        zone: [a for a in answer.records if a.startswith(_LISTED)]
        for zone, answer in zip(lists, answers, strict=True)
    }
    refused = [z for z, found in hits.items() if any(a.startswith("127.255.255.") for a in found)]
    listed = [z for z, found in hits.items() if found and z not in refused]
    check, why = f"DNSBL {address}", "hosts that use this list refuse your mail"
    if listed:
        publish = f"find out why, end it, then ask for removal at {', '.join(listed)}"
        return [Finding(check, "wrong", f"listed at {', '.join(listed)}", publish, why)]
    if refused:
        text = f"{', '.join(refused)} refuses this resolver"
        return [Finding(check, "unknown", text, "use a resolver of your own", why)]
    return [_ok(check, f"on none of {', '.join(lists) or 'no lists'}", why)]


async def _smtp(site: Site) -> list[Finding]:
    greeting = await greet(site.mail_host, site.smtp_port)
    return [_ehlo(site, greeting), _relay(greeting), _certificate(site, greeting)]


def _ehlo(site: Site, greeting: Greeting) -> Finding:
    why = "the name in EHLO and in the greeting must be that of the host (RFC 5321 §4.1.4)"
    if greeting.name.lower() == site.mail_host:
        return _ok("EHLO name", greeting.name, why)
    publish = f"HOLUB_INGRESS_HOSTNAME={site.mail_host}"
    return Finding("EHLO name", "wrong", greeting.name, publish, why)


def _relay(greeting: Greeting) -> Finding:
    why = "an open relay sends everybody's spam and is on every list within hours"
    if greeting.relays:
        todo = "take the host off the network and look at who may relay"
        return Finding("open relay", "wrong", greeting.relay_reply, todo, why)
    return _ok("open relay", greeting.relay_reply, why)


def _certificate(site: Site, greeting: Greeting) -> Finding:
    why = "others encrypt only to hosts whose certificate they can verify (MTA-STS)"
    if greeting.certificate_error:
        todo = f"a certificate for {site.mail_host} from a public CA: HOLUB_TLS_CERTIFICATE"
        return Finding("certificate", "wrong", greeting.certificate_error, todo, why)
    return _ok("certificate", f"valid until {greeting.certificate_until}", why)
