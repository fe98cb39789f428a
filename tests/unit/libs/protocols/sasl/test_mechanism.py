"""The other mechanisms by bytes."""

from __future__ import annotations

import json

import pytest

from libs.protocols.sasl import (
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    ExchangeError,
    Wrong,
    make_mechanism,
)
from libs.protocols.sasl.bearer import OAuthBearer, XOAuth2
from libs.protocols.sasl.plain import Login, Plain
from libs.protocols.sasl.prepare import saslprep

ALL = ("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL", "SCRAM-SHA-1", "SCRAM-SHA-256")


@pytest.mark.parametrize("name", ALL)
def test_every_mechanism_is_made_and_begins_by_asking(name: str) -> None:
    mechanism = make_mechanism(name, "nonce", {})

    assert mechanism is not None
    assert isinstance(mechanism.begin(None), Challenge)


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "plain", "SCRAM-SHA-256-PLUS", "ANONYMOUS"])
def test_other_mechanisms_are_not_made(name: str) -> None:
    assert make_mechanism(name, "nonce", {}) is None


def test_plus_is_made_where_the_channel_has_a_binding() -> None:
    assert make_mechanism("SCRAM-SHA-1-PLUS", "nonce", {"tls-unique": b"x"}) is not None


@pytest.mark.parametrize("message", [b"\0a@b\0p w", b"a@b\0a@b\0p w", b"A@B\0a@b\0p w"])
def test_plain_gives_name_and_password(message: bytes) -> None:
    assert Plain().begin(message) == CheckPassword("a@b", "p w")


@pytest.mark.parametrize(
    "message",
    [b"", b"a\0b", b"a\0b\0c\0d", b"\0\0p", b"\0a\0", b"other\0a\0p", b"\0a\0\xff"],
)
def test_plain_names_what_is_wrong(message: bytes) -> None:
    with pytest.raises(ExchangeError):
        Plain().begin(message)


def test_login_asks_twice() -> None:
    login = Login()

    assert login.begin(None) == Challenge(b"Username:")
    assert login.receive(b"a@b") == Challenge(b"Password:")
    assert login.receive(b"secret") == CheckPassword("a@b", "secret")


def test_login_takes_the_name_at_once() -> None:
    login = Login()

    assert login.begin(b"a@b") == Challenge(b"Password:")


@pytest.mark.parametrize("given", [b"", b"a\0b"])
def test_login_needs_a_name(given: bytes) -> None:
    with pytest.raises(ExchangeError):
        Login().begin(given)


def test_external_names_an_account_or_nobody() -> None:
    external = make_mechanism("EXTERNAL", "", {})
    assert external is not None

    assert external.begin(b"") == CheckCertificate("")
    assert external.begin(b"a@b") == CheckCertificate("a@b")


@pytest.mark.parametrize(
    ("message", "login"),
    [
        (b"n,a=a@b,\x01host=h\x01port=1\x01auth=Bearer t0k\x01\x01", "a@b"),
        (b"y,a=a=2Cb@c,\x01auth=bearer t0k\x01\x01", "a,b@c"),
        (b"n,,\x01auth=Bearer t0k\x01\x01", ""),
    ],
)
def test_oauthbearer_gives_the_token(message: bytes, login: str) -> None:
    assert OAuthBearer().begin(message) == CheckToken(login, "t0k")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,\x01auth=Bearer t\x01",
        b"n,,auth=Bearer t\x01\x01",
        b"n\x01auth=Bearer t\x01\x01",
        b"p=x,,\x01auth=Bearer t\x01\x01",
        b"n,b=c,\x01auth=Bearer t\x01\x01",
        b"n,,\x01auth=Basic t\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01\x01",
    ],
)
def test_oauthbearer_names_what_is_wrong(message: bytes) -> None:
    with pytest.raises(ExchangeError):
        OAuthBearer().begin(message)


def test_xoauth2_gives_the_token() -> None:
    assert XOAuth2().begin(b"user=a@b\x01auth=Bearer t\x01\x01") == CheckToken("a@b", "t")


def test_xoauth2_needs_the_user() -> None:
    with pytest.raises(ExchangeError):
        XOAuth2().begin(b"n,,\x01auth=Bearer t\x01\x01")


@pytest.mark.parametrize("where", ["", "https://id.example/.well-known/openid-configuration"])
def test_a_refused_token_is_explained_and_then_fails(where: str) -> None:
    bearer = OAuthBearer()
    bearer.begin(b"n,a=a@b,\x01auth=Bearer t\x01\x01")

    step = bearer.refuse(where)

    assert isinstance(step, Challenge)
    answer = json.loads(step.octets)
    assert answer["status"] == "invalid_token"
    assert answer.get("openid-configuration", "") == where
    assert bearer.receive(b"\x01") == Wrong("a@b")


@pytest.mark.parametrize(
    ("given", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)
def test_saslprep_as_in_rfc_4013_section_3(given: str, prepared: str) -> None:
    assert saslprep(given) == prepared


@pytest.mark.parametrize("given", ["\u0007", "\u06271", "\u0627a\u0628"])
def test_saslprep_prohibits(given: str) -> None:
    with pytest.raises(ValueError):
        saslprep(given)
