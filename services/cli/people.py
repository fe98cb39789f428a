"""Making accounts from the command line: one, many alike, or a file of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from services.cli import client
from services.cli.refused import Refused


def new_accounts(address: str, count: int, password: str | None, values: dict[str, Any]) -> None:
    """Create an account, or `local-part1`..N with one password, hashed once."""
    made = password is None
    password = password if password is not None else secrets.token_urlsafe(12)
    if count:
        first, last = _many(address, count, password, values)
        print(f"created {first}" + (f" to {last}" if count > 1 else ""))
    else:
        body = {"address": address, "password": password, **values}
        created = client.call("POST", client.path("accounts"), body=body)
        print(f"created {created['address']}")
    if made:
        print(f"password: {password}")


def _many(address: str, count: int, password: str, values: dict[str, Any]) -> tuple[str, str]:
    from libs.common.accounts.credential import hash_password
    from libs.common.accounts.registry import RegistryError

    if len(password) < 8:
        raise RegistryError("password", "needs at least 8 characters")
    hashed = hash_password(password)
    local_part, _, name = address.rpartition("@")
    rows = [
        {"address": f"{local_part}{n}@{name}", "password_hash": hashed, **values}
        for n in range(1, count + 1)
    ]
    body = "\n".join(map(json.dumps, rows)).encode()
    for _ in _import("accounts", body, "application/x-ndjson", dry_run=False, skip=False):
        pass
    return rows[0]["address"], rows[-1]["address"]


def _import(
    kind: str, body: bytes, media_type: str, *, dry_run: bool, skip: bool
) -> Iterator[dict[str, Any]]:
    """The lines of progress; `Refused` when any row is wrong."""
    query = {"dry_run": dry_run, "skip_existing": skip}
    where = client.path("import", kind)
    last: dict[str, Any] = {}
    for line in client.lines("POST", where, query=query, body=body, kind=media_type):
        if not line.strip():
            continue
        last = json.loads(line)
        yield last
    if last.get("errors"):
        raise Refused(422, {"errors": last["errors"]})


def import_file(kind: str, file: str, dry_run: bool, skip: bool, as_json: bool) -> None:
    """Send a CSV or JSON lines file, and show how far it is."""
    from pathlib import Path

    from rich.progress import Progress

    media_type = "text/csv" if file.lower().endswith(".csv") else "application/x-ndjson"
    last: dict[str, Any] = {"done": 0}
    with Progress(transient=True) as progress:
        task = progress.add_task("checking" if dry_run else "importing", total=None)
        body = Path(file).read_bytes()
        for last in _import(kind, body, media_type, dry_run=dry_run, skip=skip):
            progress.update(task, total=last["total"], completed=last["done"])
    if as_json:
        print(json.dumps(last))
        return
    verb = "would be created" if dry_run else "created"
    print(f"{last['created']} {kind} {verb}, {last['skipped']} there already")
