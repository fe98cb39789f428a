"""`holub trace`: a message's whole way as a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from libs.common.db import Database
from libs.common.trace.search import find_messages, tell
from services.cli.administer import with_database

_FEW = 5
"""Up to so many messages are told in full; more are listed."""


def show(what: str, as_json: bool) -> int:
    """Print what is known; the exit code is 1 when nothing is."""

    async def work(database: Database) -> list[dict[str, Any]]:
        return [await tell(database, mail_id) for mail_id in await find_messages(database, what)]

    stories = with_database(work)
    if as_json:
        print(json.dumps(stories, ensure_ascii=False))
    elif not stories:
        print(f"nothing is known of {what}: give a mail_id, a Message-ID or an address")
    else:
        for story in stories[:_FEW]:
            _print(story)
        if len(stories) > _FEW:
            print(f"{len(stories) - _FEW} more, older:")
            for story in stories[_FEW:]:
                print(f"  {story['mail_id']}")
    return 0 if stories else 1


def _print(story: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = story["message"] or {}
    console = Console(width=160, soft_wrap=False, highlight=False)
    console.print(f"\n[bold]{story['mail_id']}[/bold]")
    if facts:
        console.print(
            f"from <{facts['reverse_path']}>  {facts['size']} octets  verdict {facts['verdict']}\n"
            f"Message-ID {facts['message_id']}",
            markup=False,
        )
    table = Table()
    for name in ("time", "role", "what", "recipient", "why", "after"):
        table.add_column(name, overflow="fold")
    start = story["steps"][0]["at"] if story["steps"] else 0.0
    for step in story["steps"]:
        at = datetime.fromtimestamp(step["at"], UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        after = f"+{(step['at'] - start) * 1000:.0f} ms"
        table.add_row(at, step["stage"], step["what"], step["recipient"], step["why"], after)
    console.print(table)
    for state in story["recipients"]:
        text = f"{state['recipient'] or 'the message'}: {state['state']} {state['detail']}"
        console.print(text, markup=False)
