"""Commands that keep the platform's data: backup, restore, reconcile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from services.cli.resources import Json

Folder = Annotated[Path, typer.Argument(help="Where backups are kept; all share their segments.")]
Report = Annotated[Path | None, typer.Option(help="Also write all of it to this file, as JSON.")]
KeepUids = Annotated[
    bool,
    typer.Option(
        "--keep-uids", help="Nothing has changed since the backup: mail programs keep their copies."
    ),
]


def backup(
    folder: Folder,
    keep: Annotated[int, typer.Option(min=0, help="Only the newest N; 0: all.")] = 0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make none: read one, all of it.")
    ] = False,
    at: Annotated[str, typer.Option(help="With --verify: this one, not the newest.")] = "",
) -> None:
    """Back up database and blobs while the platform runs; exit code 1 when there is damage."""
    from services.cli.backup import take

    work = take.verify(folder, at) if verify else take.take(folder, keep)
    raise typer.Exit(asyncio.run(work))


def restore(
    folder: Folder,
    at: Annotated[str, typer.Option(help="This backup, not the newest.")] = "",
    database_only: Annotated[
        bool, typer.Option("--database-only", help="The blob store is there, and newer.")
    ] = False,
    keep_uids: KeepUids = False,
    json: Json = False,
    report: Report = None,
) -> None:
    """Restore into an empty database and blob store; then: what comes again, and what twice."""
    from services.cli.backup import restore as restoring

    made = restoring.restore(folder, at, blobs_too=not database_only, new_uids=not keep_uids)
    raise typer.Exit(restoring.tell(asyncio.run(made), json, report))


def reconcile(
    since: Annotated[datetime, typer.Option(help="UTC: what moment the database is of.")],
    keep_uids: KeepUids = False,
    json: Json = False,
    report: Report = None,
) -> None:
    """After the database was brought back by its own means; no role may run meanwhile."""
    from services.cli.backup import restore as restoring

    moment = since.replace(tzinfo=UTC).timestamp()
    made = restoring.reconcile(moment, new_uids=not keep_uids)
    raise typer.Exit(restoring.tell(asyncio.run(made), json, report))
