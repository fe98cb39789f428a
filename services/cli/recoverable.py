"""Commands for expunged mail, which can be had back; they work on the backends themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.resources import Json

recoverable = typer.Typer(help="Expunged mail, which can be had back.", no_args_is_help=True)


@recoverable.command("list")
def recoverable_list(address: str, json: Json = False) -> None:
    """What was expunged from an account, the newest first."""
    from services.cli.recover import list_recoverable

    list_recoverable(address, json)


@recoverable.command("restore")
def recoverable_restore(
    address: str,
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of the list.")] = None,
    mailbox: Annotated[str, typer.Option(help="All that was in this mailbox.")] = "",
    hours: Annotated[float, typer.Option(help="All that was expunged since.")] = 0,
) -> None:
    """Put expunged mail back where it was."""
    from services.cli.recover import restore

    if not (ids or mailbox or hours):
        raise typer.BadParameter("name ids, --mailbox or --hours")
    print(f"{restore(address, ids or [], mailbox, hours)} messages are back")
