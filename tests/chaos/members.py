"""The platform's processes and their settings in a chaos run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme
from argon2 import PasswordHasher

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.db import open_database
from tests.chaos.client import Listener
from tests.chaos.supervisor import Supervisor
from tests.servers.process import free_ports

DOMAIN, OUTSIDE, PASSWORD = "chaos.test", "sink.test", "chaos-password"
SENDER = f"sender@{DOMAIN}"
RELAY_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Platform:
    """Where the load goes in, and where the judge reads."""

    mx: Listener
    submission: Listener
    imap: int


async def prepare(url: str, accounts: tuple[str, ...]) -> None:
    """The domain and its accounts, all with one password."""
    database = open_database(url)
    try:
        await create_domain(database, DOMAIN)
        # The cheapest hash there is: what argon2 costs is not the question here.
        hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        await create_accounts(database, [*accounts, SENDER], hashed)
    finally:
        await database.close()


def certificate(folder: Path) -> Mapping[str, str]:
    """The settings of a certificate made for this run."""
    made = trustme.CA().issue_cert("mx.chaos.test", "localhost")
    chain, key = folder / "tls.pem", folder / "tls.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return {"HOLUB_TLS_CERTIFICATE": str(chain), "HOLUB_TLS_KEY": str(key)}


def add_members(
    platform: Supervisor, *, clamd: str, sink: int, ingress_argv: tuple[str, ...] = ()
) -> Platform:
    """One process of each role, and two of ingress."""
    mx, submission = free_ports(2), free_ports(2)
    for number in (0, 1):
        settings = {
            "HOLUB_INGRESS_MX_PORT": str(mx[number]),
            "HOLUB_INGRESS_SUBMISSION_PORT": str(submission[number]),
            "HOLUB_INGRESS_SUBMISSIONS_PORT": "0",
            "HOLUB_INGRESS_LMTP_PORT": "0",
            "HOLUB_INGRESS_VERDICT_SECONDS": "2",
        }
        platform.add(f"ingress-{number + 1}", settings, ingress_argv)
    platform.add("filter", {"HOLUB_FILTER_CLAMD": clamd})
    platform.add("delivery", {})
    platform.add("storage", {})
    platform.add("relay", {"HOLUB_RELAY_NEXT_HOP": f"127.0.0.1:{sink}"})
    (imap,) = free_ports(1)
    platform.add("imap", {"HOLUB_IMAP_PORT": str(imap), "HOLUB_IMAP_TLS_PORT": "0"})
    return Platform(Listener(tuple(mx)), Listener(tuple(submission), SENDER, PASSWORD), imap)
