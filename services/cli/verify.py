"""`holub verify`: sender authentication by hand, and for test suites: one JSON object a line."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from libs.common.dns import Resolver, open_resolver
from libs.common.runtime.settings import PlatformSettings
from libs.common.senderauth import (
    DkimResult,
    SignedMessage,
    check_dmarc,
    check_spf,
    verify_arc,
    verify_dkim,
)
from libs.protocols.message.author import read_author

OPERATIONS = ("spf", "dkim", "arc", "dmarc")


def verify(operation: str, lines: Iterable[str]) -> None:
    """Answer each line; a line that is wrong gets an `error`, and the next one is read."""
    servers = PlatformSettings.load().dns_servers
    asyncio.run(_all(operation, lines, servers))


async def _all(operation: str, lines: Iterable[str], servers: str) -> None:
    resolvers: dict[str, Resolver] = {}
    try:
        for line in lines:
            if line.strip():
                answer = await _answer(operation, line, servers, resolvers)
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    finally:
        for resolver in resolvers.values():
            await resolver.close()


async def _answer(
    operation: str, line: str, servers: str, resolvers: dict[str, Resolver]
) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        if not isinstance(asked, dict):
            raise ValueError("a line is one JSON object")
        op = asked.get("op", operation)
        where = str(asked.get("dns", servers))
        if where not in resolvers:
            resolvers[where] = open_resolver(where)
        if op == "spf":
            return await _spf(asked, resolvers[where])
        if op not in OPERATIONS:
            raise ValueError(f"op is one of {', '.join(OPERATIONS)}")
        message = SignedMessage(base64.b64decode(asked["message"], validate=True))
        return await _OF_MESSAGES[op](asked, message, resolvers[where])
    except KeyError as error:
        return {"error": f"{error.args[0]} is missing"}
    except ValueError as error:
        return {"error": str(error)}


async def _spf(asked: dict[str, Any], resolver: Resolver) -> dict[str, Any]:
    found = await check_spf(
        resolver, asked["ip"], asked.get("helo", ""), asked.get("mailfrom") or ""
    )
    return {
        "result": found.word,
        "explanation": found.explanation,
        "mechanism": found.mechanism,
        "reason": found.reason,
    }


async def _dkim(
    asked: dict[str, Any], message: SignedMessage, resolver: Resolver
) -> dict[str, Any]:
    found = await verify_dkim(message, resolver, time.time())
    best = next((one for one in found if one.word == "pass"), None) or next(iter(found), None)
    signatures = [
        {"result": one.word, "domain": one.domain, "selector": one.selector, "reason": one.reason}
        for one in found
    ]
    best = best or DkimResult("none")
    return {"result": best.word, "reason": best.reason, "signatures": signatures}


async def _arc(asked: dict[str, Any], message: SignedMessage, resolver: Resolver) -> dict[str, Any]:
    found = await verify_arc(message, resolver, time.time())
    return {"result": found.word, "reason": found.reason, "sealers": found.sealers}


async def _dmarc(
    asked: dict[str, Any], message: SignedMessage, resolver: Resolver
) -> dict[str, Any]:
    author = read_author(message.header)
    spf = None
    if asked.get("ip"):
        mail_from = asked.get("mailfrom") or ""
        spf = await check_spf(resolver, asked["ip"], asked.get("helo", ""), mail_from)
    dkim = await verify_dkim(message, resolver, time.time())
    found = await check_dmarc(resolver, author.domain, spf, dkim)
    return {
        "result": found.word,
        "policy": found.policy,
        "disposition": found.disposition,
        "aligned": found.aligned,
        "domain": found.domain,
        "reason": author.reason or found.reason,
    }


_OF_MESSAGES = {"dkim": _dkim, "arc": _arc, "dmarc": _dmarc}
