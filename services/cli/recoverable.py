"""Commands for expunged mail, which can be had back."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.resources import Json, _call, _group

recoverable = _group("Expunged mail, which can be had back.")


@recoverable.command("list")
def recoverable_list(address: str, mailbox: str = "", json: Json = False) -> None:
    """What was expunged from an account, what went last first."""
    from services.cli import client, table

    columns = ("id", "mailbox", "subject", "size", "expunged_at", "expires_at")
    found = client.pages(client.path("accounts", address, "recoverable"), {"mailbox": mailbox})
    table.show(found, json, f"Expunged mail of {address}", columns)


@recoverable.command("restore")
def recoverable_restore(
    address: str,
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of the list.")] = None,
    mailbox: Annotated[str, typer.Option(help="All that was in this mailbox.")] = "",
    hours: Annotated[float, typer.Option(help="All that was expunged since.")] = 0,
) -> None:
    """Put expunged mail back where it was."""
    if not (ids or mailbox or hours):
        raise typer.BadParameter("name ids, --mailbox or --hours")
    body = {"ids": ids or [], "mailbox": mailbox, "hours": hours}
    back = 0
    while True:
        count = _call("POST", "accounts", address, "recoverable", "restore", body=body)["messages"]
        back += count
        if not count:
            break
    print(f"{back} messages are back")
