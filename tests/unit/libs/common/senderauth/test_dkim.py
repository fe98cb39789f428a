"""DKIM against dkimpy, which we did not write, and the example of RFC 8463."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from libs.common.dns import StaticResolver
from libs.common.senderauth import (
    BodyHash,
    DkimResult,
    SignedMessage,
    Signer,
    dkim_fields,
    verify_dkim,
)
from libs.common.senderauth.key import BadKey, WeakKey, parse_key
from libs.common.senderauth.sign import signed_value
from libs.common.senderauth.signed import relaxed_body, simple_body
from libs.common.senderauth.tags import BadTags, parse_tags

NOW = 1_700_000_000
MESSAGE = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject:  Hi\t there \r\n"
    b" folded\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@example.org>\r\n"
    b"\r\nHello,\t  world \r\n\r\nBye.\r\n\r\n\r\n"
)


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL if isinstance(key, rsa.RSAPrivateKey) else None
    return key.private_bytes(Encoding.PEM, form or PrivateFormat.PKCS8, NoEncryption())


RSA_PEM = _pem(rsa.generate_private_key(65537, 2048))
RSA = Signer.load("example.org", "rsa", RSA_PEM)
ED = Signer.load("Example.ORG.", "ed", _pem(ed25519.Ed25519PrivateKey.generate()))
RECORDS = {
    ("rsa._domainkey.example.org", "TXT"): [RSA.record.encode()],
    ("ed._domainkey.example.org", "TXT"): [ED.record.encode()],
}


def verify(
    content: bytes, records: object = None, failing: tuple[str, ...] = (), now: float = NOW
) -> list[DkimResult]:
    resolver = StaticResolver(records or RECORDS, failing)  # type: ignore[arg-type]
    return asyncio.run(verify_dkim(SignedMessage(content), resolver, now))


def words(content: bytes, **more: object) -> list[str]:
    return [result.word for result in verify(content, **more)]  # type: ignore[arg-type]


def oracle(content: bytes) -> bool:
    """What dkimpy says of the topmost signature."""

    def txt(name: bytes, timeout: int = 5) -> bytes:
        return bytes(RECORDS[(name.decode().rstrip("."), "TXT")][0])

    return bool(dkim.verify(content, dnsfunc=txt))


def signed(content: bytes = MESSAGE, signer: Signer = RSA) -> bytes:
    return dkim_fields(content, [signer], NOW) + content


def by_dkimpy(content: bytes = MESSAGE, **options: object) -> bytes:
    return dkim.sign(content, b"rsa", b"example.org", RSA_PEM, **options) + content  # type: ignore[arg-type]


@pytest.mark.parametrize("signer", [RSA, ED], ids=["rsa", "ed25519"])
def test_dkimpy_verifies_what_we_sign(signer: Signer) -> None:
    assert oracle(signed(signer=signer))
    assert words(signed(signer=signer)) == ["pass"]


@pytest.mark.parametrize("header", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
def test_we_verify_what_dkimpy_signs(header: bytes, body: bytes) -> None:
    assert words(by_dkimpy(canonicalize=(header, body))) == ["pass"]


def test_two_keys_make_two_signatures_and_both_verify() -> None:
    content = dkim_fields(MESSAGE, [RSA, ED], NOW) + MESSAGE

    results = verify(content)

    assert [(one.word, one.algorithm, one.bits) for one in results] == [
        ("pass", "rsa-sha256", 2048),
        ("pass", "ed25519-sha256", 256),
    ]
    assert results[0].domain == "example.org"
    assert results[0].identity == "@example.org"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject:  Hi", b"Subject:  Ho"),
        (b"Bye.", b"By!."),
        (b"To: bob", b"To: eve@example.net\r\nTo: bob"),
        (b"To: bob", b"Cc: eve@example.net\r\nTo: bob"),
        (b"\r\n\r\nHello", b"\r\nReply-To: thief@example.com\r\n\r\nHello"),
        (b"Bye.\r\n", b"Bye.\r\nPS: send money\r\n"),
        (b"From: Alice", b"From: Boss <boss@example.org>\r\nFrom: Alice"),
    ],
)
def test_any_change_of_what_is_signed_fails(old: bytes, new: bytes) -> None:
    """Also added fields: they are signed once more than they are there."""
    content = signed().replace(old, new, 1)

    assert words(content) == ["fail"]
    assert not oracle(content)


def test_white_space_may_change_in_relaxed_form() -> None:
    content = signed().replace(b"Subject:  Hi\t there \r\n folded", b"SUBJECT: Hi there folded")

    assert words(content.replace(b"Hello,\t  world ", b"Hello, world")) == ["pass"]


def test_bare_line_feeds_are_read_as_line_ends() -> None:
    assert words(signed().replace(b"\r\n", b"\n")) == ["pass"]


def test_what_l_leaves_out_is_not_signed() -> None:
    """`l=` would let anyone append to a signed message."""
    content = by_dkimpy(length=True)

    assert oracle(content + b"appended\r\n")
    assert words(content + b"appended\r\n") == ["fail"]


def test_sha1_proves_nothing() -> None:
    content = by_dkimpy().replace(b"a=rsa-sha256", b"a=rsa-sha1")

    assert words(content) == ["policy"]


def test_a_short_key_proves_nothing() -> None:
    pem = _pem(rsa.generate_private_key(65537, 1024))
    record = Signer.load("example.org", "rsa", pem).record
    public = rsa.generate_private_key(65537, 1024).public_key()
    assert public.key_size == 1024
    short = (
        "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALOnMvoJ+YfC5OaM0PpYbjyUWXlzVBRcrDxdS6EhCl/l"
        "AmtbY+dVzPYzz0vMiIQz1KAo1kD3MXOoWjqVDTVc+K0CAwEAAQ=="
    )

    assert parse_key(record.encode()).bits == 1024
    with pytest.raises(WeakKey, match="512 bits"):
        parse_key(short.encode())
    results = verify(signed(), {("rsa._domainkey.example.org", "TXT"): [short.encode()]})
    assert results[0].word == "policy"


@pytest.mark.parametrize(
    ("times", "word"), [(b"t=5; x=9", "fail"), (b"t=5; x=9999999999", "pass"), (b"t=5; x=5", None)]
)
def test_an_expired_signature_fails(times: bytes, word: str | None) -> None:
    message = SignedMessage(MESSAGE)
    body = base64.b64encode(message.body_hash(True))
    tags = b" v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=rsa; h=from; " + times
    value = tags + b"; bh=" + body + b"; b="
    field = signed_value(message, RSA, b"dkim-signature", value, [b"from"])

    assert words(b"DKIM-Signature:" + field + MESSAGE) == [word or "permerror"]


def test_dns_that_does_not_answer_is_a_temporary_error() -> None:
    failing = ("rsa._domainkey.example.org",)

    assert words(signed(), failing=failing) == ["temperror"]


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ("v=DKIM1; p=", "permerror"),
        ("v=DKIM2; p=AAAA", "permerror"),
        ("p=AAAA", "permerror"),
        ("v=DKIM1; p=!!", "permerror"),
        ("nonsense", "permerror"),
        ("v=DKIM1; k=ed25519; p=AAAA", "permerror"),
        ("v=DKIM1; k=dsa; p=AAAA", "permerror"),
        (RSA.record + "; h=sha1", "permerror"),
        (RSA.record + "; s=tlsrpt", "permerror"),
        (RSA.record + "; s=tlsrpt:email; h=sha1:sha256", "pass"),
        (RSA.record + "; t=s", "pass"),
        (ED.record, "permerror"),
        (RSA.record.replace("v=DKIM1; k=rsa; ", ""), "pass"),
    ],
    # The keys are new in every process, but ids of tests must not be.
    ids=[str(number) for number in range(13)],
)
def test_key_records_are_read_strictly(record: str, word: str) -> None:
    records = {("rsa._domainkey.example.org", "TXT"): [record.encode()]}

    assert words(signed(), records=records) == [word]


def test_no_key_is_a_permanent_error() -> None:
    results = verify(signed(), {("x.example", "TXT"): [b""]})

    assert (results[0].word, results[0].reason) == ("permerror", "there is no key")


def test_who_is_testing_is_not_punished() -> None:
    records = {("rsa._domainkey.example.org", "TXT"): [f"{RSA.record}; t=y".encode()]}
    content = signed().replace(b"Subject:  Hi", b"Subject:  Ho")

    assert words(content, records=records) == ["neutral"]


@pytest.mark.parametrize("identity", [b"@sub.example.org", b"x@example.org"])
def test_the_identity_may_be_below_the_domain(identity: bytes) -> None:
    assert words(by_dkimpy(identity=identity)) == ["pass"]


def test_a_strict_key_allows_no_identity_below() -> None:
    records = {("rsa._domainkey.example.org", "TXT"): [f"{RSA.record}; t=s".encode()]}

    assert words(by_dkimpy(identity=b"@sub.example.org"), records=records) == ["permerror"]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"v=1", b"v=2", "permerror"),
        (b"i=@example.org;", b"i=@example.com;", "permerror"),
        (b"d=example.org", b"d=", "permerror"),
        (b"d=example.org", b"d=a..b", "permerror"),
        (b"s=rsa;", b"s=rsa; s=other;", "permerror"),
        (b"c=relaxed", b"c=strange", "permerror"),
        (b"q=dns/txt", b"q=http", "permerror"),
        (b" bh=", b" bh=!", "permerror"),
        (b"from", b"form", "permerror"),
        (b" t=", b" t=x", "permerror"),
        (b" v=1", b" \xff=1; v=1", "permerror"),
        (b" v=1", b" nothing; v=1", "permerror"),
    ],
)
def test_a_wrong_signature_field_is_a_permanent_error(old: bytes, new: bytes, word: str) -> None:
    content = by_dkimpy(identity=b"@example.org")
    assert old in content

    assert words(content.replace(old, new)) == [word]


def test_only_the_first_signatures_are_looked_at() -> None:
    content = dkim_fields(MESSAGE, [RSA] * 12, NOW) + MESSAGE

    assert words(content) == ["pass"] * 8


def test_a_message_without_signature_has_no_result() -> None:
    assert words(MESSAGE) == []


def test_a_large_body_is_hashed_in_a_thread() -> None:
    assert words(signed(MESSAGE + b"x" * 70 + b"\r\n" + b"line\r\n" * 400_000)) == ["pass"]


def test_a_message_without_from_is_not_signed() -> None:
    with pytest.raises(ValueError, match="without From"):
        dkim_fields(b"To: a@example.org\r\n\r\n", [RSA], NOW)


@pytest.mark.parametrize(("domain", "selector"), [("a..b", "s"), ("example.org", "")])
def test_a_signer_needs_a_name(domain: str, selector: str) -> None:
    with pytest.raises(ValueError, match="not a domain"):
        Signer.load(domain, selector, RSA_PEM)


def test_tags_are_bounded() -> None:
    with pytest.raises(BadTags, match="more than"):
        parse_tags(b";".join(b"t%d=1" % n for n in range(100)))


def test_a_revoked_key_says_so() -> None:
    with pytest.raises(BadKey, match="revoked"):
        parse_key(b"v=DKIM1; p=")


def test_the_example_of_rfc_8463_verifies() -> None:
    """RFC 8463 appendix A: one message, an ed25519 and an RSA signature."""
    results = verify(RFC8463, RFC8463_KEYS, now=1_528_637_909)

    assert [one.word for one in results] == ["pass", "pass"]


lines = st.lists(
    st.sampled_from([b"", b" ", b"\t", b"a", b"a b", b" a  \tb ", b"a\t"]), max_size=12
)


@given(lines, st.booleans())
def test_bodies_are_canonicalised_as_dkimpy_does(pieces: list[bytes], ended: bool) -> None:
    body = b"\r\n".join(pieces) + (b"\r\n" if ended else b"")
    from dkim.canonicalization import Relaxed, Simple

    if body.endswith(b"\r\n") or not body:
        assert relaxed_body(body) == Relaxed.canonicalize_body(body)
        assert simple_body(body) == Simple.canonicalize_body(body)
    else:
        assert relaxed_body(body) == relaxed_body(body + b"\r\n")


def test_the_corpus_is_judged_as_dkimpy_judges_it(corpus: Path) -> None:
    """Signed by both sides, every message verifies at the other one."""
    seen = 0
    for path in sorted(corpus.rglob("*"))[::7]:
        if not path.is_file() or path.stat().st_size > 100_000:
            continue
        content = SignedMessage(path.read_bytes()).content
        message = SignedMessage(content)
        # dkimpy wants a strict header; broken ones are for the fuzzer.
        if len(message.fields(b"from")) != 1 or message.fields(b"dkim-signature"):
            continue
        try:
            theirs = by_dkimpy(content, canonicalize=(b"relaxed", b"relaxed"))
            ours = signed(content)
            verdict = oracle(ours)
        except (dkim.DKIMException, UnicodeError):
            continue
        assert words(theirs) == ["pass"], path
        assert verdict, path
        seen += 1
    assert seen > 20


RFC8463_KEYS = {
    ("brisbane._domainkey.football.example.com", "TXT"): [
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ],
    ("test._domainkey.football.example.com", "TXT"): [
        b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        b"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        b"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
        b"Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ],
}
RFC8463 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


LINES = st.lists(
    st.sampled_from([b"", b" ", b"\t ", b"a", b"a \t b ", b".", b"\xc3\xbc", b"long " * 40]),
    max_size=12,
)


@given(LINES, st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_a_body_in_blocks_has_the_hash_of_the_whole(
    lines: list[bytes], cuts: list[int], ends: bool
) -> None:
    body = b"\r\n".join(lines) + (b"\r\n" if ends else b"")
    at = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    # No block ends between CR and LF.
    at = [i - (body[i - 1 : i + 1] == b"\r\n") for i in at]
    blocks = BodyHash()

    for start, end in itertools.pairwise(at):
        blocks.feed(body[start:end])

    assert blocks.digest() == hashlib.sha256(relaxed_body(body)).digest()
