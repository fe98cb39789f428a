"""`holub trace`: a message's whole way, in words and as a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from services.cli import client

_FEW = 5
"""Up to so many messages are told in full; more are listed."""
_MOST = 100


def show(what: str, state: str, as_json: bool) -> int:
    """Print what is known; the exit code is 1 when nothing is."""
    query = {"q": what, "state": state}
    items = client.pages(client.path("trace"), query, _MOST)
    if as_json:
        print(json.dumps([_story(item) for item in items], ensure_ascii=False))
    elif not items:
        print(f"nothing is known of {what}: give a mail_id, a Message-ID, an address or a subject")
    else:
        for item in items[:_FEW]:
            _print(_story(item))
        if len(items) > _FEW:
            print(f"{len(items) - _FEW} more, older:")
            for item in items[_FEW:]:
                print(f"  {item['mail_id']}  {item['last']}  {item['subject'][:60]}")
    return 0 if items else 1


def _story(item: dict[str, Any]) -> dict[str, Any]:
    return dict(client.call("GET", client.path("trace", item["mail_id"])))


def follow(recipient: str, as_json: bool) -> None:
    """Print steps as they happen, until Ctrl-C."""
    query = {"recipient": recipient}
    try:
        for line in client.lines("GET", client.path("trace", "follow"), query=query):
            if line.startswith(b"data: "):
                text = line.removeprefix(b"data: ").decode().rstrip()
                print(text if as_json else _line(json.loads(text)), flush=True)
    except KeyboardInterrupt:
        return


def _line(step: dict[str, Any]) -> str:
    words = (_clock(step["at"]), step["mail_id"], step["stage"], step["what"], step["recipient"])
    return "  ".join(filter(None, (*words, step["why"])))


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _print(story: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = story["message"] or {}
    console = Console(width=160, soft_wrap=False, highlight=False, markup=False)
    console.print(f"\n{story['mail_id']}")
    if facts:
        console.print(
            f"from <{facts['reverse_path']}>  {facts['size']} octets  verdict {facts['verdict']}\n"
            f"Message-ID {facts['message_id']}"
        )
    table = Table()
    for name in ("time", "role", "what", "recipient", "why", "after"):
        table.add_column(name, overflow="fold")
    start = story["steps"][0]["at"] if story["steps"] else 0.0
    for step in story["steps"]:
        after = f"+{(step['at'] - start) * 1000:.0f} ms"
        table.add_row(
            _clock(step["at"]), step["stage"], step["what"], step["recipient"], step["why"], after
        )
    console.print(table)
    for sentence in story["explanation"]:
        console.print(sentence)
