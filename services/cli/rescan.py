"""`holub rescan`: delivered mail is checked again by the engines that there are now."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.cli.resources import Json, _call, _list, _one

rescan = typer.Typer(
    help="Check delivered mail again: holub rescan --since 24h.", rich_markup_mode=None
)
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
_SECONDS = re.compile(r"\d{10}(?:\.\d+)?")
_HINT_SECONDS = 20.0
_COLUMNS = ("id", "state", "tenant", "dry_run", "seen", "total", "junk", "quarantined", "back")
_FOUND = ("mail_id", "address", "action", "sender", "subject", "reason")


@rescan.callback(invoke_without_command=True)
def begin(
    context: typer.Context,
    since: Annotated[
        str, typer.Option(help="30m, 24h, 7d, or a time: 2026-11-24T08:00 (UTC).")
    ] = "",
    tenant: Annotated[str, typer.Option(help="Only in the accounts of this tenant.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for its end, and show how far it is.")] = True,
    json: Json = False,
) -> None:
    """Check delivered mail again: what is dangerous now goes to quarantine, spam to Junk, or back.

    The filter role does it, below the live traffic; Ctrl-C leaves it running.
    """
    if context.invoked_subcommand is not None:
        return
    if not since:
        raise typer.BadParameter("say since when, for example --since 24h", param_hint="--since")
    body = {"since": moment(since, time.time()), "tenant": tenant, "dry_run": dry_run}
    run = _call("POST", "rescans", body=body)
    if wait:
        run = _watch(run)
    _show(run, json)


def moment(text: str, now: float) -> float:
    """Seconds since the epoch of `24h` (ago), an ISO 8601 time (UTC), or a number of seconds."""
    if match := _SPAN.fullmatch(text):
        return now - float(match[1]) * _UNITS[match[2]]
    try:
        if _SECONDS.fullmatch(text):
            return float(text)
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is neither a span (30m, 24h, 7d) nor a time (2026-11-24T08:00)",
            param_hint="--since",
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _watch(run: dict[str, Any]) -> dict[str, Any]:
    """Look at it until it ends; how far it is goes to stderr, for people only."""
    from services.cli import client

    end, people = time.monotonic() + _HINT_SECONDS, sys.stderr.isatty()
    try:
        for line in client.lines("GET", client.path("rescans", run["id"], "follow")):
            if not line.startswith(b"data: "):
                continue
            run = json.loads(line.removeprefix(b"data: "))
            if people:
                late = time.monotonic() > end
                print(f"\r{_progress(run, late)}\033[K", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\nit goes on; look with: holub rescan show {run['id']}", file=sys.stderr)
        raise typer.Exit(130) from None
    if people:
        print(file=sys.stderr)
    return run


def _progress(run: dict[str, Any], late: bool) -> str:
    if late and not run["total"] and not run["note"]:
        return "no filter has begun it yet; is the role `filter` running?"
    return f"{run['seen']} of {run['total']} messages  {run['note']}"


def _show(run: dict[str, Any], as_json: bool) -> None:
    from services.cli import client, table

    found = client.pages(client.path("rescans", run["id"], "findings"))
    if as_json:
        print(json.dumps({**run, "findings": found}, ensure_ascii=False))
        return
    title = "What would be moved" if run["dry_run"] else "What was moved"
    table.show(found, False, title, _FOUND)
    _one(run, False, f"Re-scan {run['id']}")


@rescan.command("list")
def rescan_list(json: Json = False) -> None:
    """Re-scans, newest first."""
    _list("rescans", json, "Re-scans", (*_COLUMNS, "created_at", "reason"))


@rescan.command("show")
def rescan_show(number: int, json: Json = False) -> None:
    """How far one is, and what it found."""
    _show(_call("GET", "rescans", number), json)


@rescan.command("stop")
def rescan_stop(number: int) -> None:
    """Do no more of it; what is done stays done."""
    run = _call("POST", "rescans", number, "stop")
    print(f"re-scan {number} is {run['state']} after {run['seen']} of {run['total']} messages")
