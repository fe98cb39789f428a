from __future__ import annotations

import pytest

from services.relay.next_hop import Login, NextHop, parse_logins, parse_routes
from services.relay.tls_policy import Level, for_domain, parse_levels


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("a.test", 1),
        ("A.Test", 1),
        ("x.a.test", 2),
        ("y.x.a.test", 2),
        ("other.test", 3),
    ],
)
def test_the_nearest_entry_counts(domain: str, found: int) -> None:
    assert for_domain({"a.test": 1, ".a.test": 2, "*": 3}, domain) == found


def test_without_an_entry_there_is_none() -> None:
    assert for_domain({"a.test": 1, ".b.test": 2}, "x.a.test") is None


def test_levels_are_words() -> None:
    assert parse_levels("A.test=verify, *=encrypt") == {"a.test": Level.VERIFY, "*": Level.ENCRYPT}
    for wrong in ("a.test", "a.test=dane", "=may"):
        with pytest.raises(ValueError, match="DOMAIN=LEVEL"):
            parse_levels(wrong)


def test_routes_are_hosts_by_domain() -> None:
    assert parse_routes("a.test=mx.b.test:26,") == {"a.test": NextHop("mx.b.test", 26)}
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_routes("a.test=mx:port")


def test_a_password_may_hold_any_sign_and_is_never_shown() -> None:
    logins = parse_logins("mx.b.test=me:a%2Cb%3Ac")

    assert logins == {"mx.b.test": Login("me", "a,b:c")}
    assert "a,b" not in repr(logins)


@pytest.mark.parametrize("wrong", ["secret", "mx.test=secret", "=secret"])
def test_what_is_wrong_with_a_login_is_said_without_it(wrong: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_logins(wrong)

    assert "secret" not in str(error.value)
