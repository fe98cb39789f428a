"""The platform's processes and their settings in a chaos run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme
from argon2 import PasswordHasher

from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.db import open_database
from libs.common.db.migrate import migrate
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
    """The schema, the domain and its accounts, all with one password."""
    database = open_database(url)
    try:
        await migrate(database)
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


ROLES = ("storage", "delivery", "relay", "filter", "imap", "ingress")


def _ingress(mx: int, submission: int) -> dict[str, str]:
    return {
        "HOLUB_INGRESS_HOSTNAME": f"mx.{DOMAIN}",
        "HOLUB_INGRESS_SMTP_PORT": str(mx),
        "HOLUB_INGRESS_SUBMISSION_PORT": str(submission),
        "HOLUB_INGRESS_SUBMISSIONS_PORT": "0",
        "HOLUB_INGRESS_LMTP_PORT": "0",
        "HOLUB_INGRESS_VERDICT_SECONDS": "2",
    }


def _relay(sink: int) -> dict[str, str]:
    return {
        "HOLUB_RELAY_HOSTNAME": f"mx.{DOMAIN}",
        "HOLUB_RELAY_NEXT_HOP": f"127.0.0.1:{sink}",
        "HOLUB_RELAY_AT_ONCE": str(RELAY_AT_ONCE),
        # A dead process's leases and a deferred recipient's turn come soon, for the run is short.
        "HOLUB_RELAY_LEASE_SECONDS": "3",
        "HOLUB_RELAY_POLL_SECONDS": "0.5",
        "HOLUB_RELAY_DELAYS_SECONDS": "1,2,4",
    }


def _imap(port: int) -> dict[str, str]:
    return {
        "HOLUB_IMAP_PORT": str(port),
        "HOLUB_IMAP_TLS_PORT": "0",
        "HOLUB_IMAP_ALLOW_PLAIN_LOGIN": "true",
    }


def add_members(
    platform: Supervisor, *, clamd: str, sink: int, argv: tuple[str, ...] = ()
) -> Platform:
    """One process of each role, and two of ingress; `argv` instead of `holub` starts them."""
    mx, submission = free_ports(2), free_ports(2)
    (imap,) = free_ports(1)
    for number in (0, 1):
        settings = _ingress(mx[number], submission[number])
        platform.add(f"ingress-{number + 1}", settings, argv=argv)
    platform.add("filter", {"HOLUB_FILTER_CLAMD": clamd}, argv=argv)
    platform.add("delivery", {}, argv=argv)
    platform.add("storage", {}, argv=argv)
    platform.add("relay", _relay(sink), argv=argv)
    platform.add("imap", _imap(imap), argv=argv)
    return Platform(Listener(tuple(mx)), Listener(tuple(submission), SENDER, PASSWORD), imap)


def add_one(platform: Supervisor, *, clamd: str, sink: int, argv: tuple[str, ...] = ()) -> Platform:
    """All roles in one process, as on a single machine."""
    mx, submission, imap = free_ports(3)
    settings = {"HOLUB_FILTER_CLAMD": clamd, **_ingress(mx, submission)}
    platform.add("all", {**settings, **_relay(sink), **_imap(imap)}, argv=argv, roles=ROLES)
    return Platform(Listener((mx,)), Listener((submission,), SENDER, PASSWORD), imap)
