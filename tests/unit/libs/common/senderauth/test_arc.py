"""ARC against the suite of ValiMail, and against dkimpy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dkim
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from libs.common.dns import StaticResolver
from libs.common.senderauth import SignedMessage, Signer
from libs.common.senderauth.arc import ArcResult, seal, verify_arc
from libs.common.senderauth.tags import parse_tags

NOW = 1_700_000_000
PEM = rsa.generate_private_key(65537, 2048).private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
)
ONE = Signer.load("one.example", "s", PEM)
TWO = Signer.load("two.example", "s", PEM)
RECORDS = {
    ("s._domainkey.one.example", "TXT"): [ONE.record.encode()],
    ("s._domainkey.two.example", "TXT"): [TWO.record.encode()],
}
MESSAGE = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: hi\r\n\r\nbody\r\n"
RESULTS = "one.example; spf=pass smtp.mailfrom=example.org"


def resolver(records: Mapping[str, str]) -> StaticResolver:
    table = {
        (name, "TXT"): ["".join(text.split("\n")).encode()]
        for name, text in (records or {}).items()
    }
    return StaticResolver(table)


def verify(content: bytes, records: Any = None) -> ArcResult:
    known = StaticResolver(RECORDS) if records is None else resolver(records)
    return asyncio.run(verify_arc(SignedMessage(content), known, NOW))


def sealed(content: bytes = MESSAGE, signer: Signer = ONE) -> bytes:
    return seal(content, signer, RESULTS, verify(content), NOW) + content


def oracle(content: bytes) -> str:
    def txt(name: bytes, timeout: int = 5) -> bytes:
        return bytes(RECORDS[(name.decode().rstrip("."), "TXT")][0])

    return str(dkim.arc_verify(content, dnsfunc=txt)[0].decode())


def test_every_state_of_the_suite_is_right(vectors: Path) -> None:
    right, wrong = 0, []
    for scenario in yaml.safe_load_all((vectors / "arc-validation-tests.yml").read_text()):
        for name, test in scenario["tests"].items():
            content = test["message"].encode().replace(b"\n", b"\r\n")
            result = verify(content, scenario["txt-records"])
            if result.word == test["cv"].lower() or (not test["cv"] and result.word):
                right += 1
            else:
                wrong.append((name, result.word, result.reason, test["cv"]))
    print(f"\nARC suite: {right} of {right + len(wrong)} states")
    assert wrong == []
    assert right > 160


def test_what_we_seal_has_the_hashes_of_the_suite(vectors: Path) -> None:
    """The order of tags is free, so signatures differ; body hash and results do not."""
    seen = 0
    for scenario in yaml.safe_load_all((vectors / "arc-sign-tests.yml").read_text()):
        pem = scenario["privatekey"].encode()
        signer = Signer.load(scenario["domain"], scenario["sel"], pem)
        for name, test in scenario["tests"].items():
            if not test["AS"]:
                continue
            content = test["message"].encode().replace(b"\n", b"\r\n")
            chain = verify(content, scenario["txt-records"])
            names = [one.encode() for one in test["sig-headers"].lower().split(":")]
            fields = seal(content, signer, "x; none", chain, test["t"], names)
            ours = SignedMessage(fields + content)
            signature = parse_tags(ours.fields(b"arc-message-signature")[0].value)
            theirs = parse_tags(test["AMS"].encode())
            assert signature["bh"] == "".join(theirs["bh"].split()), name
            made = parse_tags(ours.fields(b"arc-seal")[0].value)
            wanted = parse_tags(test["AS"].encode())
            assert (made["cv"], made["i"]) == (wanted["cv"], wanted["i"]), name
            if made["cv"] != "fail":
                assert verify(fields + content, scenario["txt-records"]).word == "pass", name
            seen += 1
    assert seen > 10


def test_dkimpy_verifies_our_seals() -> None:
    content = sealed(sealed(), TWO)

    assert oracle(content) == "pass"
    result = verify(content)
    assert (result.word, result.sealers) == ("pass", ("one.example", "two.example"))
    assert result.results == (RESULTS, RESULTS)


def test_we_verify_seals_of_dkimpy() -> None:
    content = b"Authentication-Results: one.example; spf=pass\r\n" + MESSAGE
    fields = b"".join(dkim.arc_sign(content, b"s", b"one.example", PEM, b"one.example"))

    assert verify(fields + content).word == "pass"


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"body", b"b0dy"), (b"hi", b"ho"), (b"spf=pass", b"spf=fail"), (b"i=1", b"i=2")],
)
def test_any_change_breaks_the_chain(old: bytes, new: bytes) -> None:
    content = sealed().replace(old, new)

    assert verify(content).word == "fail"


def test_a_broken_chain_is_sealed_as_broken_and_then_left_alone() -> None:
    content = sealed(sealed().replace(b"body", b"b0dy"))

    assert b"cv=fail" in content
    assert seal(content, ONE, RESULTS, verify(content), NOW) == b""


def test_a_chain_that_could_not_be_checked_is_not_added_to() -> None:
    assert seal(MESSAGE, ONE, RESULTS, ArcResult("temperror"), NOW) == b""
