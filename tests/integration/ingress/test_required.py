"""postmaster, abuse and the null sender work, whatever else does not (RFC 5321 §4.5.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from libs.common.accounts import Directory
from libs.common.accounts.registry import create_accounts, create_domain
from libs.common.db import Database
from libs.common.db.schema import account, domain
from tests.integration.ingress.ingress import ALICE, DAVE, DOMAIN, Ingress, password_hash, running


async def asked(ingress: Ingress, *recipients: str) -> list[bytes]:
    """The replies to RCPT."""
    named = "".join(f"RCPT TO:<{one}>\r\n" for one in recipients)
    got = await ingress.converse(f"EHLO x\r\nMAIL FROM:<>\r\n{named}".encode())
    return [line[:9] for line in got.splitlines()[-len(recipients) :]]


async def change(database: Database, address: str, **values: object) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(
            update(account).where(account.c.address == address).values(**values)
        )


@pytest.mark.parametrize("wrong", [{"enabled": False}, {"quota_octets": 1, "used_octets": 2}])
async def test_a_postmaster_who_is_suspended_or_full_gets_mail_and_others_do_not(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    async with running(tmp_path) as ingress:
        await create_accounts(ingress.database, [f"postmaster@{DOMAIN}"], password_hash())
        for address in (f"postmaster@{DOMAIN}", ALICE):
            await change(ingress.database, address, **wrong)

        replies = await asked(ingress, f"postmaster@{DOMAIN}", f"Postmaster+x@{DOMAIN}", ALICE)

    assert replies[:2] == [b"250 2.1.5"] * 2
    assert replies[2] in (b"550 5.2.1", b"452 4.2.2")


async def test_without_a_postmaster_it_is_somebody_who_may_log_in(tmp_path: Path) -> None:
    async with running(tmp_path) as ingress:
        await change(ingress.database, ALICE, enabled=False)
        replies = await asked(ingress, f"postmaster@{DOMAIN}", f"ABUSE@{DOMAIN}")

        found = await Directory(ingress.database).targets([f"abuse@{DOMAIN}"])
    assert replies == [b"250 2.1.5"] * 2
    assert [address for _, address in found[f"abuse@{DOMAIN}"].accounts] == [f"bob@{DOMAIN}"]


async def test_a_domain_without_accounts_has_those_of_its_tenant_and_nobody_elses(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as ingress:
        await create_domain(ingress.database, "new.test", tenant_name="other")
        await create_domain(ingress.database, "caught.test", tenant_name="other")
        await create_domain(ingress.database, "lonely.test", tenant_name="lonely")
        async with ingress.database.transaction() as transaction:
            caught = domain.c.name == "caught.test"
            await transaction.execute(
                update(domain).where(caught).values(catch_all="x@far.example")
            )
        replies = await asked(
            ingress, "abuse@new.test", "abuse@caught.test", "abuse@lonely.test", "x@lonely.test"
        )

        names = ["abuse@new.test", "abuse@caught.test"]
        found = await Directory(ingress.database).targets(names)
    assert replies == [b"250 2.1.5", b"250 2.1.5", b"450 4.2.1", b"550 5.1.1"]
    assert [address for _, address in found["abuse@new.test"].accounts] == [DAVE]
    assert found["abuse@caught.test"].remote == ("x@far.example",)


@pytest.mark.parametrize("hostname", [f"mail.{DOMAIN}", DOMAIN, "mx.provider.example"])
async def test_postmaster_needs_no_domain(tmp_path: Path, hostname: str) -> None:
    async with running(tmp_path, hostname=hostname) as ingress:
        replies = await asked(ingress, "PostMaster")

    assert replies == [b"250 2.1.5"]
