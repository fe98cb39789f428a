"""The rules together: what a process shares of them, and what one session has found."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from libs.common.accounts import Directory
from libs.common.accounts.directory import is_required
from libs.common.accounts.screening import Mode
from libs.common.db import Database
from libs.common.dns import Resolver
from libs.common.limits import Limits
from libs.common.runtime.log import get_logger
from libs.protocols.smtp.path import Path
from libs.protocols.smtp.reply import Refusal, Reply
from services.ingress.peers import is_listed, parse_networks
from services.ingress.screen import early, greylist, helo, rule
from services.ingress.screen.connections import Connections
from services.ingress.screen.greylist import Greylist
from services.ingress.screen.rates import HOUR, MINUTE, Rate
from services.ingress.screen.reverse import ask_iprev
from services.ingress.screen.rule import Finding
from services.ingress.screen.tarpit import wait
from services.ingress.screen.zones import ask_zones
from services.ingress.settings import MxSettings

log = get_logger(__name__)


class Screen:
    """One per process."""

    def __init__(
        self,
        settings: MxSettings,
        hostname: str,
        directory: Directory,
        database: Database,
        limits: Limits,
        resolver: Resolver,
    ) -> None:
        self.settings = settings
        self.hostname = hostname
        self.directory = directory
        self.resolver = resolver
        self.connections = Connections(limits, settings.connections)
        self.new = Rate(limits, "connections", settings.connections_per_minute, MINUTE, 421)
        self.messages = Rate(limits, "messages", settings.messages_per_hour, HOUR, 450)
        self.recipients = Rate(limits, "recipients", settings.recipients_per_hour, HOUR, 450)
        self.required = Rate(limits, "reports", settings.required_per_hour, HOUR, 450)
        self.unknown = Rate(limits, "unknown-recipients", settings.unknown_per_hour, HOUR, 421)
        self.greylist = Greylist(
            database, settings.greylist_seconds, settings.greylist_welcome_after
        )
        networks = parse_networks(settings.exempt_networks)
        self._exempt = lru_cache(maxsize=10_000)(lambda ip: is_listed(ip, networks))

    def start(self) -> None:
        """Tell the other replicas."""
        self.connections.start()

    async def close(self) -> None:
        """Ask no more."""
        await self.connections.close()
        await self.resolver.close()

    def begin(self, ip: str) -> Screening | None:
        """For a client that has just connected; None: it is asked nothing."""
        return None if self._exempt(ip) else Screening(self, ip)


class Screening:
    """What is asked of one client, and was found; `close` it when the session ends."""

    def __init__(self, screen: Screen, ip: str) -> None:
        self._screen = screen
        self._settings = screen.settings
        address = ip_address(ip.partition("%")[0])
        self._ip = str(getattr(address, "ipv4_mapped", None) or address)
        self._counted = False
        self._began = asyncio.get_running_loop().time()
        self._early: dict[str, Finding] = {}
        self._asked: dict[str, asyncio.Task[Finding]] = {}
        self._score = 0
        self.rdns = ""
        """The client's name, when `iprev` verified it."""

    # The connection.

    def enter(self) -> Reply | None:
        """Ask DNS from now on; or why this client may not come in."""
        screen, name = self._screen, "rates"
        reply = screen.unknown.full(self._ip) or screen.new.count(self._ip)
        if reply is None:
            reply, name = screen.connections.enter(self._ip), "connections"
        if reply is not None:
            rule.count(name, "refused")
            log.info("refused", stage="connect", peer=self._ip, reply=f"{reply.code} {reply.text}")
            return reply
        self._counted = True
        if self._settings.lists:
            self._ask("dnsbl", self._ask_zones())
        if self._settings.iprev is not Mode.OFF:
            self._ask("iprev", self._ask_iprev())
        return None

    def close(self) -> None:
        """The session is over."""
        if self._counted:
            self._counted = False
            self._screen.connections.leave(self._ip)
        for task in self._asked.values():
            task.cancel()

    @property
    def pause(self) -> float:
        """Seconds before the greeting."""
        return 0.0 if self._settings.early_talk is Mode.OFF else self._settings.greeting_seconds

    def spoke_early(self) -> Reply | None:
        """Something came before the greeting; the reply when the connection is to be closed."""
        return self._note(self._settings.early_talk, early.found_early())

    def out_of_step(self, verb: str, *, extended: bool) -> Reply | None:
        """Something came after this command; the reply when the connection is to be closed."""
        if self._settings.pipelining is Mode.OFF or not early.must_wait(verb, extended):
            return None
        return self._note(self._settings.pipelining, early.found_pipelining(verb))

    def _note(self, mode: Mode | str, finding: Finding) -> Reply | None:
        if mode is not Mode.OFF:
            self._early.setdefault(finding.rule, finding)
        if mode != "close":
            return None
        rule.count(finding.rule, "refused")
        log.info("refused", stage="connect", peer=self._ip, rule=str(finding))
        return finding.refusal

    # The session.

    def heard(self, name: str) -> None:
        """HELO or EHLO: ask about the name."""
        if self._settings.helo is Mode.OFF:
            return
        seconds, screen = self._settings.dns_seconds, self._screen
        question = helo.ask_helo(screen.resolver, name, self._ip, screen.hostname, seconds)
        self._ask(helo.RULE, question)

    async def slow_down(self, errors: int) -> None:
        """Before the reply to a command that was refused."""
        await wait(errors, self._settings.tarpit_after, self._settings.tarpit_seconds)

    def message(self) -> None:
        """MAIL; a `Refusal` when it is one too many."""
        self._refuse("rates", self._screen.messages.count(self._ip))

    def guesses(self) -> None:
        """Before RCPT: a `Refusal` for who named too many unknown recipients."""
        self._refuse("rates", self._screen.unknown.full(self._ip))

    def unknown(self) -> None:
        """An unknown recipient was named."""
        self._screen.unknown.add(self._ip)

    async def recipient(self, reverse_path: Path, path: Path) -> tuple[str, ...]:
        """RCPT of one whom we know: what was found, as `rule=outcome`; or a `Refusal`."""
        self._refuse("rates", self._screen.recipients.count(self._ip))
        if not (self._early or self._asked or self._settings.greylist is not Mode.OFF):
            return ()
        chosen = await self._screen.directory.screening(path.domain)
        if reachable := is_required(path.address):
            self._refuse("rates", self._screen.required.count(self._ip))
        findings = [*self._early.values(), *[await task for task in self._asked.values()]]
        if self._asks_greylist(chosen, reverse_path, reachable):
            ask = self._screen.greylist.ask(self._ip, reverse_path.address, path.address)
            findings.append(await ask)
        for finding in findings:
            mode = self._mode(finding.rule, chosen)
            in_force = mode is Mode.REFUSE and not reachable
            self._refuse(finding.rule, finding.refusal if in_force else None)
            rule.count(finding.rule, "noted" if finding.refusal else "passed")
        return tuple(str(f) for f in findings if self._mode(f.rule, chosen) is not Mode.OFF)

    def _mode(self, name: str, chosen: Mapping[str, Mode]) -> Mode:
        mode = chosen.get(name) or getattr(self._settings, name)
        return mode if isinstance(mode, Mode) else Mode.REFUSE

    def _asks_greylist(self, chosen: Mapping[str, Mode], sender: Path, reachable: bool) -> bool:
        """Bounces and callbacks come once (the null sender), and the welcome need not ask."""
        if self._settings.greylist is Mode.OFF or not sender.domain:
            return False
        in_force = self._mode(greylist.RULE, chosen) is Mode.REFUSE
        return in_force and not reachable and self._score >= 0

    def _refuse(self, name: str, reply: Reply | None) -> None:
        if reply is not None:
            rule.count(name, "refused")
            raise Refusal(reply)

    # DNS.

    def _ask(self, name: str, question: Coroutine[Any, Any, Finding]) -> None:
        if (before := self._asked.get(name)) is not None:
            before.cancel()
        self._asked[name] = asyncio.create_task(_answer(name, question))

    @property
    def _left(self) -> float:
        spent = asyncio.get_running_loop().time() - self._began
        return max(self._settings.dns_seconds - spent, 0.01)

    async def _ask_zones(self) -> Finding:
        finding, self._score = await ask_zones(
            self._screen.resolver,
            self._settings.lists,
            self._settings.threshold,
            self._ip,
            self._left,
        )
        return finding

    async def _ask_iprev(self) -> Finding:
        finding, self.rdns = await ask_iprev(self._screen.resolver, self._ip, self._left)
        return finding


async def _answer(name: str, question: Coroutine[Any, Any, Finding]) -> Finding:
    try:
        return await question
    except Exception:
        # A fault of ours must not keep mail away.
        log.exception("a rule has no finding", rule=name)
        return Finding(name, "fault")
