from __future__ import annotations

import email
import email.policy

import pytest

from libs.protocols.message.seven_bit import CannotConvert, to_seven_bit

TEXT = "Grüße, Žluťoučký kůň\r\n" + "ä" * 200 + "\r\n.\r\nend =20 \r\n"
MIXED = (
    b"From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + TEXT.encode()
    + b"\r\n--b\r\nContent-Type: application/x-raw\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    + bytes(range(128, 256))
    + b"\r\n--b\r\n\r\nplain\r\n--b--\r\n"
)


def parsed(content: bytes) -> email.message.EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    return message


def test_each_8bit_part_is_encoded_and_means_the_same() -> None:
    converted = to_seven_bit(MIXED)

    assert converted.isascii()
    assert b"\n" not in converted.replace(b"\r\n", b"")
    text, raw, plain = parsed(converted).iter_parts()
    assert text.get_content() == TEXT
    assert text["content-transfer-encoding"] == "quoted-printable"
    assert raw.get_payload(decode=True) == bytes(range(128, 256))
    assert plain.as_string() == "\nplain"
    assert parsed(converted)["content-transfer-encoding"] == "7bit"


def test_what_has_seven_bits_is_left_alone() -> None:
    content = b"From: a@x.test\r\n\r\nhello\r\n"

    assert to_seven_bit(content) == content


def test_a_message_inside_is_converted_too() -> None:
    outer = b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"

    converted = to_seven_bit(outer + MIXED)

    inner = parsed(converted).get_payload(0)
    assert converted.isascii()
    assert next(inner.iter_parts()).get_content() == TEXT


def test_text_that_names_no_charset_says_that_it_is_unknown() -> None:
    converted = to_seven_bit(b"Subject: x\r\n\r\nGr\xfc\xdfe\r\n")

    message = parsed(converted)
    assert message["mime-version"] == "1.0"
    assert message.get_content_charset() == "unknown-8bit"
    assert message.get_payload(decode=True).strip() == b"Gr\xfc\xdfe"


def test_8bit_header_fields_are_not_its_business() -> None:
    content = b"Subject: \xc3\xbc\r\n\r\nplain\r\n"

    assert to_seven_bit(content) == content


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Transfer-Encoding: base64\r\n\r\n\xfcber\r\n",
        b"\r\n".join([b'Content-Type: multipart/mixed; boundary="b"', b"", b"\xfc", b"--b--"]),
        MIXED.replace(b"preamble", b"pr\xe9amble"),
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        + b"--b\r\n\r\nx\r\n" * 1100
        + b"\xfc\r\n--b--\r\n",
    ],
)
def test_what_has_no_7bit_form_is_said(content: bytes) -> None:
    with pytest.raises(CannotConvert):
        to_seven_bit(content)
