"""Commands for the DKIM keys of domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.resources import Json, _call, _group

dkim = _group("DKIM keys: with what the mail of a domain is signed.")
_COLUMNS = ("selector", "algorithm", "state", "created_at", "seen_at", "name", "record")


@dkim.command("list")
def dkim_list(domain: str, json: Json = False) -> None:
    """The keys of a domain, and in which state each one is."""
    from services.cli import table

    table.show(_call("GET", "domains", domain, "dkim"), json, f"DKIM keys of {domain}", _COLUMNS)


@dkim.command("rotate")
def dkim_rotate(
    domain: str,
    algorithm: Annotated[list[str] | None, typer.Option(help="Only such: rsa-sha256 ...")] = None,
    selector: Annotated[str, typer.Option(help="The name of the key; else one is made.")] = "",
    key: Annotated[Path | None, typer.Option(help="PEM file of a key that is there.")] = None,
    json: Json = False,
) -> None:
    """Make new keys; they take over by themselves once their records are seen in DNS."""
    from services.cli import table

    body: dict[str, Any] = {"selector": selector}
    body |= {"algorithms": algorithm} if algorithm else {}
    body |= {"private_key": key.read_text()} if key else {}
    made = _call("POST", "domains", domain, "dkim", body=body)
    table.show(made, json, "Publish these TXT records, and leave the old ones", _COLUMNS)


@dkim.command("activate")
def dkim_activate(domain: str, selector: str) -> None:
    """Sign with a new key at once, without waiting until it is seen in DNS."""
    _call("POST", "domains", domain, "dkim", selector, "activate")
    print(f"mail of {domain} is signed with {selector} within a minute")


@dkim.command("delete")
def dkim_delete(domain: str, selector: str) -> None:
    """Remove a key at once, for one that got into wrong hands."""
    _call("DELETE", "domains", domain, "dkim", selector)
    print(f"{selector} of {domain} is gone; remove its record from DNS too")
