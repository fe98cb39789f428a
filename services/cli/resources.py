"""Commands for tenants, domains, accounts, aliases and keys: one line of the API each.

Only what `--help` needs is imported here; the client comes when a command runs.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]
Text = Annotated[str, typer.Option(help="Only those whose name contains this.")]


def _group(text: str) -> typer.Typer:
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)


tenant = _group("Tenants: customers that see nothing of each other.")
domain = _group("Domains that are ours.")
account = _group("Accounts: who logs in and owns mailboxes.")
alias = _group("Addresses that stand for others.")
key = _group("Keys of the management API.")


def _call(*words: Any, **more: Any) -> Any:
    from services.cli import client

    return client.call(words[0], client.path(*words[1:]), **more)


def _list(where: str, as_json: bool, title: str, columns: tuple[str, ...], **query: Any) -> None:
    from services.cli import client, table

    table.show(client.pages(client.path(where), query), as_json, title, columns)


def _one(item: Any, as_json: bool, title: str) -> None:
    from services.cli import table

    table.show_one(item, as_json, title)


def _given(**values: Any) -> dict[str, Any]:
    found = {name: value for name, value in values.items() if value is not None}
    if not found:
        raise typer.BadParameter("give at least one option that says what to change")
    return found


@tenant.command("create")
def tenant_create(name: str) -> None:
    """Create a tenant."""
    _call("POST", "tenants", body={"name": name})
    print(f"tenant {name} is there now")


@tenant.command("list")
def tenant_list(json: Json = False) -> None:
    """All tenants and how much they have."""
    columns = ("name", "domains", "accounts", "messages_per_hour", "recipients_per_day")
    _list("tenants", json, "Tenants", columns)


@tenant.command("set")
def tenant_set(
    name: str,
    messages_per_hour: Annotated[
        int | None, typer.Option(min=0, help="Of all its accounts together; 0: no limit.")
    ] = None,
    recipients_per_day: Annotated[int | None, typer.Option(min=0, help="The same.")] = None,
) -> None:
    """Change how much a tenant may send."""
    body = _given(messages_per_hour=messages_per_hour, recipients_per_day=recipients_per_day)
    _call("PATCH", "tenants", name, body=body)
    print(f"tenant {name} is changed")


@tenant.command("delete")
def tenant_delete(name: str) -> None:
    """Remove a tenant that has nothing any more."""
    _call("DELETE", "tenants", name)
    print(f"tenant {name} is gone")


@domain.command("create")
def domain_create(name: str, tenant: str = "", catch_all: str = "") -> None:
    """Take mail for a domain."""
    _call("POST", "domains", body={"name": name, "tenant": tenant, "catch_all": catch_all})
    print(f"domain {name} is ours now; what to publish: holub dns {name}")


@domain.command("list")
def domain_list(search: Text = "", json: Json = False) -> None:
    """All domains."""
    columns = ("name", "tenant", "enabled", "catch_all", "created_at")
    _list("domains", json, "Domains", columns, search=search)


@domain.command("show")
def domain_show(name: str, json: Json = False) -> None:
    """One domain."""
    _one(_call("GET", "domains", name), json, name)


@domain.command("set")
def domain_set(
    name: str,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
    catch_all: Annotated[str | None, typer.Option(help="Takes what nobody else does.")] = None,
    screening: Annotated[
        str | None, typer.Option(help="Checks of strangers: `dnsbl=note,greylist=refuse`.")
    ] = None,
) -> None:
    """Change a domain."""
    given = _given(enabled=enabled, catch_all=catch_all, screening=screening)
    _call("PATCH", "domains", name, body=given)
    print(f"domain {name} is changed")


@domain.command("delete")
def domain_delete(name: str) -> None:
    """Take no mail for it any more; it must be empty."""
    _call("DELETE", "domains", name)
    print(f"domain {name} is not ours any more")


@account.command("create")
def account_create(
    address: str,
    count: Annotated[int, typer.Option(min=0, help="Make N of them: local-part1 to N.")] = 0,
    password_stdin: Annotated[
        bool, typer.Option(help="Read the password from standard input (else one is made).")
    ] = False,
    name: Annotated[str, typer.Option(help="Of the person.")] = "",
    role: Annotated[str, typer.Option(help="What it may do in this API.")] = "account",
    quota: Annotated[int, typer.Option(min=0, help="Octets; 0: no limit.")] = 0,
) -> None:
    """Create an account, or many with one password."""
    from services.cli.people import new_accounts

    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    new_accounts(address, count, password, {"name": name, "role": role, "quota_octets": quota})


@account.command("list")
def account_list(search: Text = "", domain: str = "", json: Json = False) -> None:
    """All accounts and what they use."""
    columns = ("address", "name", "role", "enabled", "used_messages", "used_octets", "quota_octets")
    _list("accounts", json, "Accounts", columns, search=search, domain=domain)


@account.command("show")
def account_show(address: str, json: Json = False) -> None:
    """One account."""
    _one(_call("GET", "accounts", address), json, address)


@account.command("set")
def account_set(
    address: str,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
    name: str | None = None,
    role: str | None = None,
    quota: Annotated[int | None, typer.Option(min=0, help="Octets; 0: no limit.")] = None,
) -> None:
    """Change an account."""
    body = _given(enabled=enabled, name=name, role=role, quota_octets=quota)
    _call("PATCH", "accounts", address, body=body)
    print(f"account {address} is changed")


@account.command("password")
def account_password(address: str) -> None:
    """Set a password, read from standard input or asked for."""
    if sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    _call("PATCH", "accounts", address, body={"password": password})
    print(f"the password of {address} is changed")


@account.command("mailboxes")
def account_mailboxes(address: str, json: Json = False) -> None:
    """What each mailbox of an account holds."""
    from services.cli import table

    rows = _call("GET", "accounts", address, "mailboxes")
    table.show(rows, json, f"Mailboxes of {address}")


@account.command("delete")
def account_delete(address: str) -> None:
    """Remove an account with all of its mail."""
    _call("DELETE", "accounts", address)
    print(f"account {address} is gone")


@alias.command("create")
def alias_create(address: str, targets: list[str]) -> None:
    """Let an address stand for one or more others."""
    _call("POST", "aliases", body={"address": address, "targets": targets})
    print(f"{address} stands for {', '.join(targets)}")


@alias.command("list")
def alias_list(search: Text = "", domain: str = "", json: Json = False) -> None:
    """All aliases and their targets."""
    _list("aliases", json, "Aliases", ("address", "targets"), search=search, domain=domain)


@alias.command("delete")
def alias_delete(address: str) -> None:
    """Remove an alias with all of its targets."""
    _call("DELETE", "aliases", address)
    print(f"alias {address} is gone")


@key.command("create")
def key_create(
    name: str,
    role: Annotated[str, typer.Option(help="platform-admin, tenant-admin, ...")] = "platform-admin",
    tenant: Annotated[str, typer.Option(help="Of a role below platform-admin.")] = "",
    domain: Annotated[list[str] | None, typer.Option(help="Of a domain-admin.")] = None,
    account: Annotated[str, typer.Option(help="Of the role account.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="Such as trace:read.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Where it may be used (CIDR).")] = None,
    days: Annotated[float, typer.Option(min=0, help="How long it is valid; 0: for ever.")] = 0,
) -> None:
    """Make an API key and show it, once."""
    import time

    body = {
        "name": name,
        "role": role,
        "tenant": tenant,
        "domains": domain or [],
        "account": account,
        "scopes": scope or [],
        "networks": network or [],
        "expires_at": time.time() + days * 86400 if days else None,
    }
    print(_call("POST", "keys", body=body)["key"])


@key.command("list")
def key_list(json: Json = False) -> None:
    """All keys, without their secrets."""
    columns = (
        "id",
        "name",
        "role",
        "tenant",
        "account",
        "scopes",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    _list("keys", json, "Keys", columns)


@key.command("revoke")
def key_revoke(number: int) -> None:
    """Refuse a key from now on."""
    _call("DELETE", "keys", number)
    print(f"key {number} is refused from now on")
