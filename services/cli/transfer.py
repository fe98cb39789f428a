"""`holub import` and `holub export` of mail: files and other servers, on this side's backends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from libs.common.accounts.registry import RegistryError
from libs.common.db.revision import current, fits
from libs.common.db.schema import account
from libs.common.mailstore import MailStore
from libs.common.runtime.settings import PlatformSettings
from libs.common.transfer import Progress, bring, export
from libs.common.transfer.exporter import Target
from libs.common.transfer.imap_account import Account, Address
from libs.common.transfer.imap_source import ImapSource
from libs.common.transfer.imap_target import ImapTarget
from libs.common.transfer.letter import Source
from libs.common.transfer.maildir_source import MaildirSource
from libs.common.transfer.maildir_target import MaildirTarget
from libs.common.transfer.mbox_source import MboxSource
from libs.common.transfer.mbox_target import MboxTarget
from libs.protocols.mailfile.mbox import Quoting
from services.cli.backup.progress import Progress as Line
from services.cli.backup.progress import octets
from services.platform import StartError, open_platform

_FEW = 10
Steps = Callable[[MailStore, int], AsyncIterator[Progress]]


_REMOTE = ("imap://", "imaps://")


def _account(url: str, from_stdin: bool) -> Account:
    address = Address.parse(url)
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not (password := os.environ.get("HOLUB_REMOTE_PASSWORD", "")):
        password = getpass(f"Password of {address.user} at {address.host}: ")
    return Account(address, password)


def source_of(place: str, form: str, mailbox: str) -> Source:
    """What is there; a form that is not named is found out."""
    path = Path(place)
    if not path.exists():
        raise StartError(f"{place} is not there")
    if form == "maildir" or (not form and path.is_dir() and not any(path.rglob("*.mbox"))):
        return MaildirSource(path)
    return MboxSource.of_path(path, _quoting(form), mailbox)


def target_of(place: str, form: str) -> Target:
    """Where it goes."""
    if form in ("", "maildir"):
        return MaildirTarget(Path(place))
    return MboxTarget(Path(place), _quoting(form))


def _quoting(form: str) -> Quoting:
    if form not in ("", *Quoting):
        raise StartError(f"no such form: {form}; write maildir, mboxrd or mboxo")
    return Quoting(form or Quoting.RD)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    form: str = ""
    mailboxes: tuple[str, ...] = ()
    password_stdin: bool = False
    json: bool = False


def bring_mail(place: str, address: str, wanted: Wanted) -> int:
    """Import; 0, or 1 when something was left out."""
    only = wanted.mailboxes
    if place.startswith(_REMOTE):
        account = _account(place, wanted.password_stdin)
        source: Source = ImapSource(account)
    else:
        account = None
        named = only[0] if len(only) == 1 and Path(place).is_file() else ""
        source = source_of(place, wanted.form, named)
        only = () if named else only
    steps: Steps = lambda store, number: bring(store, number, source, only)  # noqa: E731
    return _run(address, steps, "imported", wanted, account)


def send_mail(address: str, place: str, wanted: Wanted) -> int:
    """Export; 0, or 1 when something was left out."""
    account = _account(place, wanted.password_stdin) if place.startswith(_REMOTE) else None
    target = ImapTarget(account) if account else target_of(place, wanted.form)
    steps: Steps = lambda store, number: export(store, number, target, wanted.mailboxes)  # noqa: E731
    return _run(address, steps, "exported", wanted, account)


def _run(address: str, steps: Steps, verb: str, wanted: Wanted, account: Account | None) -> int:
    if os.environ.get("HOLUB_API_URL"):
        raise StartError(
            "mail goes to and from the backends of this side: unset HOLUB_API_URL and set"
            " HOLUB_DATABASE_URL, HOLUB_QUEUE_URL and HOLUB_BLOB_URL; or send an mbox to the API"
        )
    last = asyncio.run(_steps(address, steps, verb, account))
    if wanted.json:
        print(json.dumps(asdict(last)))
    else:
        _tell(last, verb)
    return 1 if last.problems else 0


async def _steps(address: str, steps: Steps, verb: str, remote: Account | None) -> Progress:
    line, last = Line(), Progress()
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform(PlatformSettings.load()))
        if remote:
            stack.push_async_callback(remote.close)
        if not fits(await current(platform.database)):
            raise StartError("the database is not at this version's schema; run: holub migrate")
        query = select(account.c.id).where(account.c.address == address.lower())
        async with platform.database.reading() as transaction:
            number: Any = await transaction.scalar(query)
        if number is None:
            raise RegistryError("address", f"there is no account {address}")
        async for last in steps(platform.mailstore(), number):
            done = last.messages + last.known
            of = f" of {last.total:,}" if last.total else ""
            line.step(f"{last.mailbox}: {done:,}{of} {verb}, {octets(last.octets)}")
    return last


def _tell(last: Progress, verb: str) -> None:
    there = f"; {last.known:,} were there already" if last.known else ""
    size = octets(last.octets)
    print(f"{last.messages:,} messages of {last.mailboxes:,} mailboxes {verb}, {size}{there}")
    for problem in last.problems[:_FEW]:
        print(f"left out: {problem}")
    if len(last.problems) > _FEW:
        print(f"left out: {len(last.problems) - _FEW} more")
