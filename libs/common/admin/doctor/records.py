"""The DNS records of a mail domain, as a table, a zone file, or a DNSEndpoint (external-dns)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TTL = 3600


_WHY = {
    "new": "DKIM: a new key, used as soon as it is seen here (RFC 6376)",
    "signing": "DKIM: your mail is signed with this key (RFC 6376)",
    "retiring": "DKIM: mail under way is signed with it; leave it until it is listed no more",
}
_STRING = 255
"""Octets of one string of a TXT record (RFC 1035 §3.3)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record to publish, and why."""

    name: str
    """Absolute, without the last dot."""
    type: str
    value: str
    why: str


def records_for(
    domain: str,
    mail_host: str,
    mta_sts_mode: str = "testing",
    keys: Sequence[Mapping[str, Any]] = (),
) -> list[Record]:
    """What to publish for a domain whose mail this platform takes and sends.

    `keys` are its DKIM keys, as `libs.common.admin.dkim` lists them.
    """
    policy = mta_sts_policy(mail_host, mta_sts_mode)
    number = hashlib.sha256(policy.encode()).hexdigest()[:16]
    report = f"postmaster@{domain}"
    return [
        Record(domain, "MX", f"10 {mail_host}.", "mail for the domain comes here (RFC 5321 §5)"),
        Record(domain, "TXT", "v=spf1 mx -all", "only the mail host sends for it (RFC 7208)"),
        Record(
            f"_dmarc.{domain}",
            "TXT",
            f"v=DMARC1; p=quarantine; rua=mailto:{report}",
            "what others do with mail that only pretends to be yours (RFC 9989)",
        ),
        *(
            Record(k["name"], "TXT", k["record"], _WHY[k["state"]])
            for k in keys
            if k["state"] in _WHY
        ),
        Record(
            f"_mta-sts.{domain}",
            "TXT",
            f"v=STSv1; id={number}",
            "others must use TLS to reach you (RFC 8461)",
        ),
        Record(f"mta-sts.{domain}", "CNAME", f"{mail_host}.", "where the MTA-STS policy is"),
        Record(
            f"_smtp._tls.{domain}",
            "TXT",
            f"v=TLSRPTv1; rua=mailto:{report}",
            "others report when TLS fails (RFC 8460)",
        ),
        Record(f"autoconfig.{domain}", "CNAME", f"{mail_host}.", "mail programs set up themselves"),
        Record(f"_imaps._tcp.{domain}", "SRV", f"0 1 993 {mail_host}.", "where to read (RFC 6186)"),
        Record(
            f"_submissions._tcp.{domain}",
            "SRV",
            f"0 1 465 {mail_host}.",
            "where to send (RFC 8314 §5.1)",
        ),
    ]


def mta_sts_policy(mail_host: str, mode: str) -> str:
    """The policy file (RFC 8461 §3.2)."""
    lines = ("version: STSv1", f"mode: {mode}", f"mx: {mail_host}", "max_age: 604800")
    return "".join(f"{line}\r\n" for line in lines)


def as_zone(records: Sequence[Record]) -> str:
    """Lines of a zone file (RFC 1035 §5.1)."""
    lines = []
    for record in records:
        value = quoted(record.value) if record.type == "TXT" else record.value
        lines.append(f"{record.name}. {TTL} IN {record.type} {value}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """The strings of a TXT record; whoever reads it puts them together (RFC 6376 §3.6.2.2)."""
    parts = [text[at : at + _STRING] for at in range(0, len(text), _STRING)]
    return " ".join(f'"{part}"' for part in parts)


def as_endpoint(domain: str, records: Sequence[Record]) -> str:
    """A DNSEndpoint of external-dns, as YAML."""
    head = (
        "apiVersion: externaldns.k8s.io/v1alpha1\nkind: DNSEndpoint\n"
        f"metadata:\n  name: holub-{domain.replace('.', '-')}\nspec:\n  endpoints:\n"
    )
    items = []
    for record in records:
        # In quotes of YAML, in which ' is doubled.
        value = record.value.rstrip(".").replace("'", "''")
        items.append(
            f"    - dnsName: {record.name}\n      recordType: {record.type}\n"
            f"      recordTTL: {TTL}\n      targets: ['{value}']\n"
        )
    return head + "".join(items)
