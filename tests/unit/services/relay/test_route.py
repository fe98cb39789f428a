from __future__ import annotations

import pytest

from libs.common.dns import StaticResolver
from services.relay.mx import MxRoute, RouteFailed
from services.relay.next_hop import Login, NextHop
from services.relay.route import Routes
from services.relay.tls_policy import Level

SMART, OTHER = NextHop("smart.test", 587), NextHop("other.test", 25)
BY_DNS = MxRoute(StaticResolver({}), "mail.example.test")


def routes(
    fixed: dict[str, NextHop],
    levels: dict[str, Level] | None = None,
    logins: dict[str, Login] | None = None,
) -> Routes:
    return Routes(fixed, BY_DNS, levels=levels or {}, logins=logins or {})


async def test_the_nearest_route_is_taken() -> None:
    table = routes({"*": SMART, "far.test": OTHER})

    assert [hop.host for hop in await table.hops("far.test")] == ["other.test"]
    assert [hop.host for hop in await table.hops("near.test")] == ["smart.test"]


async def test_without_a_route_dns_is_asked() -> None:
    with pytest.raises(RouteFailed, match="neither MX records nor an address"):
        await routes({"far.test": OTHER}).hops("near.test")


@pytest.mark.parametrize(
    ("levels", "login", "level"),
    [
        ({}, False, Level.MAY),
        ({"*": Level.NONE}, False, Level.NONE),
        ({}, True, Level.VERIFY),
        ({"*": Level.NONE}, True, Level.ENCRYPT),
        ({"*": Level.ENCRYPT}, True, Level.ENCRYPT),
    ],
)
async def test_a_password_asks_for_tls(levels: dict[str, Level], login: bool, level: Level) -> None:
    logins = {"smart.test": Login("us", "secret")} if login else {}

    (hop,) = await routes({"*": SMART}, levels, logins).hops("far.test")

    assert hop.tls.level is level
    assert hop.tls.known_name
    assert bool(hop.login) is login
