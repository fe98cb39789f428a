"""What commands do to the scripts of the account that is logged in."""

from __future__ import annotations

import asyncio

from libs.common.accounts import Account
from libs.common.accounts.registry import RegistryError
from libs.common.admin import scripts
from libs.common.admin.principal import Principal, Role
from libs.common.db import Database
from libs.common.scripts import ScriptError, check_room
from libs.protocols.managesieve.event import (
    CheckScript,
    DeleteScript,
    Event,
    GetScript,
    HaveSpace,
    ListScripts,
    PutScript,
    RenameScript,
    SetActive,
)
from libs.protocols.managesieve.session import ServerSession
from libs.protocols.managesieve.wire import lines, string
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.script import compile_script


class Scripts:
    """The scripts of one account, with the reach of that account alone."""

    def __init__(self, database: Database, account: Account, client: str) -> None:
        self.address = account.address
        self._database = database
        self._account_id = account.id
        self._who = Principal(
            account.address,
            Role.ACCOUNT,
            account.tenant_id,
            account_id=account.id,
            address=account.address,
            client=client,
        )

    async def answer(self, session: ServerSession, event: Event) -> None:
        """Do it, and say so; what cannot be done is NO with its reason."""
        try:
            await self._do(session, event)
        except RegistryError as error:
            cause = error.__cause__
            session.no(error.rule, cause.code if isinstance(cause, ScriptError) else "")
            return
        except ScriptError as error:
            session.no(error.text, error.code)
            return
        except (SieveError, UnicodeDecodeError) as error:
            session.no(str(error))
            return
        session.ok()

    async def _do(self, session: ServerSession, event: Event) -> None:
        match event:
            case ListScripts() | GetScript() | HaveSpace() | CheckScript():
                await self._look(session, event)
            case _:
                await self._change(event)

    async def _look(
        self, session: ServerSession, event: ListScripts | GetScript | HaveSpace | CheckScript
    ) -> None:
        database, who, address = self._database, self._who, self.address
        match event:
            case HaveSpace(name, octets):
                async with database.reading() as transaction:
                    await check_room(transaction, self._account_id, name, octets)
            case CheckScript(content):
                await asyncio.to_thread(compile_script, content)
            case ListScripts():
                found = await scripts.list_of(database, who, address)
                rows = [(string(one["name"]), one["active"]) for one in found]
                session.send(
                    lines([(name, b"ACTIVE") if active else (name,) for name, active in rows])
                )
            case GetScript(name):
                one = await scripts.get(database, who, address, name)
                content = str(one["content"]).encode()
                # Always a literal: the standard lets clients expect one (RFC 5804 §2.9).
                session.send(b"{%d}\r\n" % len(content) + content + b"\r\n")

    async def _change(self, event: Event) -> None:
        database, who, address = self._database, self._who, self.address
        match event:
            case PutScript(name, content):
                await scripts.put(database, who, address, name, content.decode())
            case SetActive(""):
                for one in await scripts.list_of(database, who, address):
                    if one["active"]:
                        await scripts.change(database, who, address, one["name"], active=False)
            case SetActive(name):
                await scripts.change(database, who, address, name, active=True)
            case DeleteScript(name):
                await scripts.remove(database, who, address, name)
            case RenameScript(old, new):
                await scripts.change(database, who, address, old, new_name=new)
