"""Commands for queues, parked jobs, quarantine, settings and the audit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli.resources import Json, _call, _group, _list, _one

queue = _group("The queues of work.")
suppression = _group("Recipients that get no mail for a while.")
parked = _group("Jobs that could not be done and are held for you.")
quarantine = _group("Mail that is held back.")
audit = _group("Who changed what.")
Most = Annotated[int, typer.Option(min=1, help="At most so many.")]


def _first(
    where: str, as_json: bool, title: str, columns: tuple[str, ...], most: int, **query: Any
) -> None:
    from services.cli import client, table

    table.show(client.pages(client.path(where), query, most), as_json, title, columns)


@queue.command("list")
def queue_list(json: Json = False) -> None:
    """How many jobs wait where, and since when."""
    from services.cli import table

    table.show(_call("GET", "queues"), json, "Queues")


Mail = Annotated[str, typer.Option(help="Of this message.")]
Sender = Annotated[str, typer.Option(help="Of this sender.")]
Recipient = Annotated[str, typer.Option(help="To this recipient.")]
To = Annotated[str, typer.Option("--to", help="To this domain.")]
Tenant = Annotated[str, typer.Option(help="Of this tenant.")]
Why = Annotated[str, typer.Option(help="For the audit and the trace.")]


@queue.command("waiting")
def queue_waiting(
    mail_id: Mail = "",
    sender: Sender = "",
    recipient: Recipient = "",
    to: To = "",
    tenant: Tenant = "",
    state: Annotated[str, typer.Option(help="waiting, held or running.")] = "",
    most: Most = 100,
    json: Json = False,
) -> None:
    """Mail that waits to leave, and what it waits for."""
    columns = ("mail_id", "n", "sender", "recipient", "state", "attempts", "next_attempt_at")
    query = _which(mail_id, sender, recipient, to, tenant) | {"state": state}
    _first("queue", json, "Waiting", (*columns, "last_reply", "note"), most, **query)


@queue.command("show")
def queue_show(mail_id: str, n: int = 0, json: Json = False) -> None:
    """One recipient that waits."""
    _one(_call("GET", "queue", mail_id, n), json, f"{mail_id}, recipient {n}")


def _orders(action: str, done: str, what: str) -> None:
    """A command that says the same of all mail that fits."""

    @queue.command(action, help=what)
    def order(
        mail_id: Mail = "",
        sender: Sender = "",
        recipient: Recipient = "",
        to: To = "",
        tenant: Tenant = "",
        why: Why = "",
    ) -> None:
        _order(action, done, _which(mail_id, sender, recipient, to, tenant), why=why)


_orders("hold", "held", "Try no more until released.")
_orders("release", "released", "Try again what was held.")
_orders(
    "retry", "tried now", "Try now, whenever the next attempt was due; what is held stays held."
)


@queue.command("cancel")
def queue_cancel(
    mail_id: Mail = "",
    sender: Sender = "",
    recipient: Recipient = "",
    to: To = "",
    tenant: Tenant = "",
    why: Why = "",
    notify: Annotated[bool, typer.Option(help="Tell the sender by a DSN.")] = True,
) -> None:
    """Give mail up."""
    which = _which(mail_id, sender, recipient, to, tenant)
    _order("cancel", "given up", which, why=why, notify=notify)


def _which(mail_id: str, sender: str, recipient: str, to: str, tenant: str) -> dict[str, Any]:
    return {
        "mail_id": mail_id,
        "sender": sender,
        "recipient": recipient,
        "domain": to,
        "tenant": tenant,
    }


def _order(action: str, done: str, which: dict[str, Any], **more: Any) -> None:
    met = _call("POST", "queue", action, body=which | more)["recipients"]
    print(f"{met} recipients are {done}")


@queue.command("unaccounted")
def queue_unaccounted() -> None:
    """How many messages no row accounts for; exit code 1 unless 0."""
    count = _call("GET", "queues", "unaccounted")["messages"]
    print(count)
    raise typer.Exit(int(count > 0))


@suppression.command("list")
def suppression_list(search: str = "", most: Most = 100, json: Json = False) -> None:
    """Who was refused for good, how often, and who was put here."""
    columns = ("address", "tenant", "reason", "bounces", "last_at", "expires_at", "detail")
    _first("suppressions", json, "Suppressed recipients", columns, most, search=search)


@suppression.command("add")
def suppression_add(
    address: str,
    days: Annotated[float, typer.Option(help="For so long.")] = 30,
    tenant: Tenant = "",
    why: Why = "",
) -> None:
    """Bounce mail for an address untried."""
    body = {"address": address, "days": days, "tenant": tenant, "detail": why}
    _call("POST", "suppressions", body=body)
    print(f"{address} gets no mail for {days:g} days")


@suppression.command("remove")
def suppression_remove(address: str) -> None:
    """Send to an address again."""
    _call("DELETE", "suppressions", address)
    print(f"{address} gets mail again")


@parked.command("list")
def parked_list(queue: str = "", mail_id: str = "", json: Json = False) -> None:
    """What is parked, and why."""
    columns = ("id", "queue", "mail_id", "attempts", "parked_at", "reason")
    _list("parked", json, "Parked jobs", columns, queue=queue, mail_id=mail_id)


@parked.command("show")
def parked_show(number: int, json: Json = False) -> None:
    """One parked job with its content."""
    _one(_call("GET", "parked", number), json, f"Parked job {number}")


@parked.command("replay")
def parked_replay(numbers: list[int]) -> None:
    """Put jobs back on their queues."""
    for number in numbers:
        print(f"job {number} is back on {_call('POST', 'parked', number, 'replay')['queue']}")


@parked.command("drop")
def parked_drop(
    number: int, reason: Annotated[str, typer.Option(help="For the audit.", prompt=True)]
) -> None:
    """Give a job up; its recipients become `discarded`, with the reason."""
    _call("DELETE", "parked", number, query={"reason": reason})
    print(f"job {number} is dropped")


@quarantine.command("list")
def quarantine_list(
    recipient: str = "", state: str = "held", most: Most = 100, json: Json = False
) -> None:
    """What is held, for whom, and why."""
    columns = ("mail_id", "n", "recipient", "sender", "subject", "reason", "created_at")
    _first("quarantine", json, "Quarantine", columns, most, recipient=recipient, state=state)


@quarantine.command("show")
def quarantine_show(mail_id: str, n: int = 0, json: Json = False) -> None:
    """One entry, with the beginning of its text."""
    _one(_call("GET", "quarantine", mail_id, n), json, f"Held for recipient {n}")


@quarantine.command("release")
def quarantine_release(
    mail_id: str,
    recipient: Annotated[list[int] | None, typer.Option(help="Ordinals; default: all.")] = None,
    learn: Annotated[bool, typer.Option(help="Tell the spam engines: it was wanted.")] = False,
) -> None:
    """Deliver held mail."""
    body = {"recipients": recipient or None, "learn": learn}
    for item in _call("POST", "quarantine", mail_id, "release", body=body):
        print(f"{mail_id} goes to {item['recipient']}")


@quarantine.command("delete")
def quarantine_delete(mail_id: str, n: int) -> None:
    """Throw one recipient's copy away."""
    _call("DELETE", "quarantine", mail_id, n)
    print(f"{mail_id} is deleted for recipient {n}")


@audit.command("list")
def audit_list(
    actor: str = "",
    action: str = "",
    object: str = "",  # noqa: A002
    most: Most = 100,
    json: Json = False,
) -> None:
    """The newest changes."""
    columns = ("id", "at", "actor", "client", "action", "object", "detail")
    query = {"actor": actor, "action": action, "object": object}
    _first("audit", json, "Audit", columns, most, **query)


@audit.command("verify")
def audit_verify() -> None:
    """Check the chain of hashes; exit code 1 when a row was changed or removed."""
    found = _call("GET", "audit", "verify")
    if found["broken_at"] is not None:
        print(f"broken at row {found['broken_at']}: it, or a row before it, was changed or removed")
        raise typer.Exit(1)
    print(f"{found['rows']} rows, the chain is whole")
