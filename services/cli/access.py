"""Commands for what accounts may do: app passwords, send-as grants, and who is blocked."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from services.cli.resources import Json, Text, _call, _group, _list

app_password = _group("Passwords of single devices.")
send_as = _group("What an account may send as besides its own addresses.")
block = _group("Who failed too often to log in.")


@app_password.command("create")
def app_password_create(
    address: str,
    name: Annotated[str, typer.Argument(help="Of the device.")],
    scope: Annotated[list[str] | None, typer.Option(help="smtp, imap, pop3, sieve.")] = None,
    days: Annotated[float, typer.Option(min=0, help="How long it is valid; 0: for ever.")] = 0,
) -> None:
    """Make an app password and show it, once."""
    body: dict[str, Any] = {
        "name": name,
        "expires_at": time.time() + days * 86400 if days else None,
    }
    if scope:
        body["scopes"] = scope
    print(_call("POST", "accounts", address, "app-passwords", body=body)["secret"])


@app_password.command("list")
def app_password_list(address: str, json: Json = False) -> None:
    """Those of an account, without their secrets."""
    from services.cli import table

    rows = _call("GET", "accounts", address, "app-passwords")
    table.show(rows, json, f"App passwords of {address}")


@app_password.command("revoke")
def app_password_revoke(address: str, name: str) -> None:
    """Refuse one from now on."""
    _call("DELETE", "accounts", address, "app-passwords", name)
    print(f"{name!r} of {address} is refused from now on")


@send_as.command("add")
def send_as_add(
    address: str, granted: Annotated[str, typer.Argument(help="An address, or *@DOMAIN.")]
) -> None:
    """Let an account send as an address of its tenant."""
    _call("POST", "accounts", address, "send-as", body={"address": granted})
    print(f"{address} may send as {granted}")


@send_as.command("list")
def send_as_list(address: str, json: Json = False) -> None:
    """The grants of an account."""
    from services.cli import table

    table.show(_call("GET", "accounts", address, "send-as"), json, f"{address} may send as")


@send_as.command("remove")
def send_as_remove(address: str, granted: str) -> None:
    """Take a grant back."""
    _call("DELETE", "accounts", address, "send-as", granted)
    print(f"{address} may not send as {granted} any more")


@block.command("list")
def block_list(search: Text = "", json: Json = False) -> None:
    """The blocks in force."""
    _list("blocks", json, "Blocks", ("key", "reason", "created_at", "until"), search=search)


@block.command("remove")
def block_remove(
    key: Annotated[str, typer.Argument(help="As `holub block list` shows it.")],
) -> None:
    """Let somebody in again."""
    _call("DELETE", "blocks", query={"key": key})
    print(f"{key} is let in again")
