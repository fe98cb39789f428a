"""The active scripts of accounts, compiled, and kept until they change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select

from libs.common.db import Database, Transaction
from libs.common.db.bulk import in_list
from libs.common.db.schema import sieve_script
from libs.protocols.sieve.fault import RunFault, SieveError
from libs.protocols.sieve.run import Do
from libs.protocols.sieve.script import Script, compile_script

MOST_OCTETS = 8 << 20
"""Octets of source of the compiled scripts that are kept; one takes about twenty times that."""


@dataclass(slots=True)
class Active:
    """The script that runs on an account's mail."""

    name: str
    script: Script | None
    """None: it cannot be compiled (any more), and `fault` says why."""
    octets: int
    fault: str = ""
    told: bool = False
    """Its owner knows already that it breaks off."""
    others: dict[str, bytes] = field(default_factory=dict)
    """The other scripts of the account, for one that includes them."""
    _compiled: dict[str, Script] = field(default_factory=dict)

    def included(self, name: str) -> Do | None:
        """The commands of another script, compiled when they are needed first."""
        if name == self.name and self.script is not None:
            return self.script.commands
        if name not in self._compiled:
            if name not in self.others:
                return None
            try:
                self._compiled[name] = compile_script(self.others[name])
            except SieveError as error:
                raise RunFault(f"include: {name!r}: {error}") from None
        return self._compiled[name].commands

    @property
    def needs(self) -> frozenset[str]:
        """Extensions of what may run; those of scripts that it includes count too."""
        return self.script.extensions if self.script is not None else frozenset()


class Scripts:
    """Looks scripts up by account and by the word that changes with them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[int, str], Active] = OrderedDict()
        self._octets = 0

    async def of(self, marks: Mapping[int, str]) -> dict[int, Active]:
        """The active scripts of these accounts (id -> `account.scripts`); most need no query."""
        missing = [number for number, mark in marks.items() if (number, mark) not in self._kept]
        if missing:
            async with self._database.reading() as transaction:
                loaded = await _load(transaction, missing)
            for number, active in loaded.items():
                self._keep((number, marks[number]), active)
        found = {}
        for key in marks.items():
            # One that was deactivated just now is not there, and does not run.
            if key in self._kept:
                self._kept.move_to_end(key)
                found[key[0]] = self._kept[key]
        self._trim()
        return found

    def _keep(self, key: tuple[int, str], active: Active) -> None:
        self._kept[key] = active
        self._octets += active.octets

    def _trim(self) -> None:
        while self._octets > MOST_OCTETS:
            _, active = self._kept.popitem(last=False)
            self._octets -= active.octets


async def _load(transaction: Transaction, accounts: list[int]) -> dict[int, Active]:
    query = select(
        sieve_script.c.account_id,
        sieve_script.c.name,
        sieve_script.c.content,
        sieve_script.c.fault,
    ).where(
        in_list(sieve_script.c.account_id, accounts, transaction.dialect), sieve_script.c.active
    )
    found = {
        row.account_id: _compiled(row.name, bytes(row.content), told=bool(row.fault))
        for row in await transaction.rows(query)
    }
    including = [number for number, one in found.items() if "include" in one.needs]
    if including:
        await _load_others(transaction, including, found)
    return found


async def _load_others(
    transaction: Transaction, accounts: list[int], found: dict[int, Active]
) -> None:
    query = select(sieve_script.c.account_id, sieve_script.c.name, sieve_script.c.content).where(
        in_list(sieve_script.c.account_id, accounts, transaction.dialect), ~sieve_script.c.active
    )
    for row in await transaction.rows(query):
        active = found[row.account_id]
        active.others[row.name] = bytes(row.content)
        active.octets += len(row.content)


def _compiled(name: str, content: bytes, told: bool) -> Active:
    # A small script costs much more than its octets.
    octets = len(content) + 1000
    try:
        return Active(name, compile_script(content), octets, told=told)
    except SieveError as error:
        # It was valid when it was put, so an extension is gone since.
        return Active(name, None, octets, str(error), told)
