"""SCRAM by bytes: the examples of the RFCs, and what a client may not do."""

from __future__ import annotations

import base64

import pytest

from libs.protocols.sasl import Challenge, ExchangeError, FindKeys, Proved, Wrong
from libs.protocols.sasl.scram import Scram, ScramKeys, decode_keys

CLIENT_1 = "fyko+d2lbbFgONRv9qkxdawL"
SERVER_1 = "3rfcNHYJY1ZVvWVs7j"
CLIENT_256 = "rOprNGfwEbeRWgbNEkqO"
SERVER_256 = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def begun(hash_name: str = "SHA-256", first: bytes = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") -> Scram:
    scram = Scram(hash_name, SERVER_256, {}, plus=False)
    assert scram.begin(first) == FindKeys("user")
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    scram.keys(ScramKeys.derive(hash_name, b"pencil", salt))
    return scram


def test_the_example_of_rfc_5802_section_5_is_proved() -> None:
    scram = Scram("SHA-1", SERVER_1, {}, plus=False)

    assert scram.begin(f"n,,n=user,r={CLIENT_1}".encode()) == FindKeys("user")
    keys = ScramKeys.derive("SHA-1", b"pencil", base64.b64decode("QSXCR+Q6sek8bf92"))
    assert scram.keys(keys) == Challenge(
        f"r={CLIENT_1}{SERVER_1},s=QSXCR+Q6sek8bf92,i=4096".encode()
    )
    final = f"c=biws,r={CLIENT_1}{SERVER_1},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=".encode()
    assert scram.receive(final) == Proved("user", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")


def test_the_example_of_rfc_7677_section_3_is_proved() -> None:
    scram = begun()

    final = (
        f"c=biws,r={CLIENT_256}{SERVER_256},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    ).encode()
    assert scram.receive(final) == Proved("user", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize(
    "final",
    [
        b"c=biws,r=NONCE,p=AAAAZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"c=biws,r=NONCE,p=dHzb",
        b"c=biws,r=NONCEx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"c=eSws,r=NONCE,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ],
    ids=["proof", "short proof", "nonce", "binding"],
)
def test_a_wrong_proof_nonce_or_binding_is_wrong(final: bytes) -> None:
    nonce = f"{CLIENT_256}{SERVER_256}".encode()

    assert begun().receive(final.replace(b"NONCE", nonce)) == Wrong("user")


@pytest.mark.parametrize("final", [b"", b"c=biws,p=AAAA", b"c=biws,r=x", b"c=biws,r=NONCE,p=*"])
def test_a_malformed_final_message_is_named(final: bytes) -> None:
    nonce = f"{CLIENT_256}{SERVER_256}".encode()

    with pytest.raises(ExchangeError):
        begun().receive(final.replace(b"NONCE", nonce))


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,",
        b"n,,n=user",
        b"n,,r=abcdefgh,n=user",
        b"n,,m=ext,n=user,r=abcdefgh",
        b"n,,n=user,r=short",
        b"n,,n=,r=abcdefgh",
        b"n,,n=us=er,r=abcdefgh",
        b"n,a=other,n=user,r=abcdefgh",
        b"n,other,n=user,r=abcdefgh",
        b"x,,n=user,r=abcdefgh",
        b"p=tls-unique,,n=user,r=abcdefgh",
        b"n,,n=us\xffer,r=abcdefgh",
        b"n,,n=us\0er,r=abcdefgh",
    ],
)
def test_a_malformed_first_message_is_named(first: bytes) -> None:
    with pytest.raises(ExchangeError):
        Scram("SHA-256", "server", {}, plus=False).begin(first)


def test_a_name_may_have_commas_and_equals_signs() -> None:
    scram = Scram("SHA-256", "server", {}, plus=False)

    assert scram.begin(b"n,a=a=2Cb=3D2C,n=a=2Cb=3D2C,r=abcdefgh") == FindKeys("a,b=2C")


def test_without_an_initial_response_the_challenge_is_empty() -> None:
    scram = Scram("SHA-256", "server", {}, plus=False)

    assert scram.begin(None) == Challenge(b"")
    assert scram.receive(b"y,,n=user,r=abcdefgh") == FindKeys("user")


def test_a_list_without_plus_that_we_did_not_send_is_an_attack() -> None:
    with pytest.raises(ExchangeError, match="changed our list"):
        Scram("SHA-256", "s", {"tls-unique": b"x"}, plus=False).begin(b"y,,n=u,r=abcdefgh")


@pytest.mark.parametrize("flag", [b"n", b"y", b"p=tls-exporter"])
def test_plus_needs_a_binding_that_we_have(flag: bytes) -> None:
    with pytest.raises(ExchangeError):
        Scram("SHA-256", "s", {"tls-unique": b"x"}, plus=True).begin(flag + b",,n=u,r=abcdefgh")


def test_a_proof_bound_to_another_channel_is_wrong() -> None:
    scram = Scram("SHA-256", SERVER_256, {"tls-unique": b"ours"}, plus=True)
    scram.begin(b"p=tls-unique,,n=user,r=" + CLIENT_256.encode())
    scram.keys(ScramKeys.derive("SHA-256", b"pencil", b"salt"))
    bound = base64.b64encode(b"p=tls-unique,,theirs")

    final = b"c=" + bound + b",r=" + f"{CLIENT_256}{SERVER_256}".encode() + b",p=AAAA"
    assert scram.receive(final) == Wrong("user")


def test_keys_are_stored_as_rfc_5803_section_3_says() -> None:
    keys = ScramKeys.derive("SHA-256", b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))

    stored = keys.encode("SHA-256")

    assert stored == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert decode_keys(stored) == {"SHA-256": keys}
    assert decode_keys("") == {}


@pytest.mark.parametrize(
    "stored",
    [
        "SCRAM-MD5$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-1$1:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
        "SCRAM-SHA-256$4096:AAAA$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
        "SCRAM-SHA-1$4096:AAAAA$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
        "nonsense",
    ],
)
def test_what_are_no_stored_keys_is_said(stored: str) -> None:
    with pytest.raises(ValueError, match=r"SCRAM|padding|base64"):
        decode_keys(stored)
