"""`holub quickstart`, `holub dns` and `holub doctor`: from a name to a domain that works."""

from __future__ import annotations

import secrets
import sys
from typing import Any

from services.cli import client, table
from services.cli.refused import Refused

_COLUMNS = ("name", "type", "value", "why")


def print_records(domain: str, form: str, as_json: bool) -> None:
    """What to publish, as a table, a zone file or a DNSEndpoint."""
    where = client.path("domains", domain, "dns")
    if form == "table":
        table.show(client.call("GET", where), as_json, f"DNS of {domain}", _COLUMNS)
        return
    for line in client.lines("GET", where, query={"form": form}):
        print(line.decode().rstrip("\n"))


def quickstart(domain: str, account: str, form: str) -> None:
    """Domain, first account, records to publish, and what to do next; may be run again."""
    if _made("domains", {"name": domain}):
        print(f"1. {domain} is one of your domains now.")
    else:
        print(f"1. {domain} was one of your domains already.")
    address, password = f"{account}@{domain}", secrets.token_urlsafe(12)
    if _made("accounts", {"address": address, "password": password}):
        print(f"2. The first account: {address}, password {password} (shown this once).")
    else:
        print(f"2. The account {address} was there already; its password stays.")
    print("3. Publish these records:\n")
    print_records(domain, form, False)
    print(
        f"\nWhat next:\n  holub doctor {domain}     does the world see the records?\n"
        f"  holub run all                start the platform (HOLUB_API_MAIL_HOST names its host)\n"
        f"  holub trace {address}   where is my mail?"
    )


def _made(what: str, body: dict[str, Any]) -> bool:
    try:
        client.call("POST", client.path(what), body=body)
    except Refused as refused:
        if refused.status != 409:
            raise
        return False
    return True


def doctor(domain: str, as_json: bool) -> int:
    """Show the findings; the exit code is 1 when something is wrong."""
    findings = client.call("GET", client.path("domains", domain, "doctor"))
    if as_json:
        table.show(findings, True, "")
    else:
        _tell(findings)
    return int(any(item["status"] == "wrong" for item in findings))


def _tell(findings: list[dict[str, Any]]) -> None:
    width = max(len(item["check"]) for item in findings)
    for item in findings:
        print(f"{item['status']:8} {item['check']:{width}}  {item['found']}")
        if item["status"] != "ok":
            print(f"{'':9}{'':{width}}  why: {item['why']}")
            if item["publish"]:
                print(f"{'':9}{'':{width}}  do:  {item['publish']}")
    sys.stdout.flush()
