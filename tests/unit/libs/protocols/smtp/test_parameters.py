"""ESMTP parameters (RFC 5321 §4.1.1.11): what is taken, and what the refusal names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.protocols.smtp.parameters import (
    parse_body,
    parse_envid,
    parse_flag,
    parse_notify,
    parse_orcpt,
    parse_ret,
    parse_size,
    refuse_unknown,
    split_parameters,
)
from libs.protocols.smtp.reply import Refusal

Parse = Callable[[dict[str, str]], object]


def test_names_are_upper_case_and_values_kept_as_they_are() -> None:
    assert split_parameters("size=1 SMTPUTF8 envid=aB") == {
        "SIZE": "1",
        "SMTPUTF8": "",
        "ENVID": "aB",
    }


@pytest.mark.parametrize("text", ["SIZE=1 size=2", "=1", "A==", "SIZE=1=2", "-A", "A=", "ä=1"])
def test_a_bad_or_repeated_parameter_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match=r"501 5\.5\.4"):
        split_parameters(text)


@pytest.mark.parametrize(
    ("parse", "given_", "value"),
    [
        (parse_size, {}, 0),
        (parse_size, {"SIZE": "0"}, 0),
        (parse_size, {"SIZE": "9" * 20}, int("9" * 20)),
        (parse_body, {}, "7BIT"),
        (parse_body, {"BODY": "8bitmime"}, "8BITMIME"),
        (parse_ret, {}, ""),
        (parse_ret, {"RET": "hdrs"}, "HDRS"),
        (parse_envid, {"ENVID": "QQ+2B314"}, "QQ+2B314"),
        (parse_envid, {"ENVID": "x" * 100}, "x" * 100),
        (parse_notify, {}, ""),
        (parse_notify, {"NOTIFY": "never"}, "NEVER"),
        (parse_notify, {"NOTIFY": "SUCCESS,delay"}, "SUCCESS,DELAY"),
        (parse_orcpt, {"ORCPT": "rfc822;a+2Bb@c"}, "rfc822;a+2Bb@c"),
        (parse_orcpt, {"ORCPT": "rfc822;" + "x" * 493}, "rfc822;" + "x" * 493),
    ],
)
def test_a_value_is_taken(parse: Parse, given_: dict[str, str], value: object) -> None:
    assert parse(given_) == value
    assert not given_  # taken out, so that `refuse_unknown` sees what nobody took


@pytest.mark.parametrize(
    ("parse", "given_"),
    [
        (parse_size, {"SIZE": ""}),
        (parse_size, {"SIZE": "-1"}),
        (parse_size, {"SIZE": "9" * 21}),
        (parse_body, {"BODY": "9BIT"}),
        (parse_ret, {"RET": "SOME"}),
        (parse_envid, {"ENVID": "x" * 101}),
        (parse_envid, {"ENVID": "a+2"}),
        (parse_envid, {"ENVID": "a+zz"}),
        (parse_notify, {"NOTIFY": "NEVER,SUCCESS"}),
        (parse_notify, {"NOTIFY": "SUCCESS,SUCCESS"}),
        (parse_notify, {"NOTIFY": "SUCCESS,"}),
        (parse_orcpt, {"ORCPT": "a@b"}),
        (parse_orcpt, {"ORCPT": ";a@b"}),
        (parse_orcpt, {"ORCPT": "rfc822;ä"}),
        (parse_orcpt, {"ORCPT": "rfc822;" + "x" * 494}),
    ],
)
def test_a_bad_value_is_refused_by_name(parse: Parse, given_: dict[str, str]) -> None:
    (name,) = given_
    with pytest.raises(Refusal, match=rf"501 5\.5\.4 .*{name}"):
        parse(given_)


def test_a_flag_takes_no_value() -> None:
    assert parse_flag({"SMTPUTF8": ""}, "SMTPUTF8")
    assert not parse_flag({}, "SMTPUTF8")
    with pytest.raises(Refusal):
        parse_flag({"SMTPUTF8": "yes"}, "SMTPUTF8")


def test_what_nobody_took_is_named() -> None:
    refuse_unknown({})
    with pytest.raises(Refusal, match=r"555 5\.5\.4 .*X-ONE, X-TWO"):
        refuse_unknown({"X-TWO": "", "X-ONE": "1"})


def refused_with(text: str) -> int:
    """The code of the refusal, or 0."""
    try:
        parameters = split_parameters(text)
        for parse in (parse_size, parse_body, parse_ret, parse_envid, parse_notify, parse_orcpt):
            parse(parameters)
    except Refusal as refusal:
        return refusal.reply.code
    return 0


@given(st.text(max_size=60))
def test_whatever_is_sent_is_taken_or_refused(text: str) -> None:
    assert refused_with(text) in (0, 501)
