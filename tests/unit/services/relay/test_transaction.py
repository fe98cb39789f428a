from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.jobs import Envelope, Recipient
from services.relay.transaction import Parcel, impossible, mail_command, rcpt_command


async def nothing() -> AsyncIterator[bytes]:
    return
    yield


async def fence() -> None:
    pass


def parcel(
    path: str = "a@x.test", to: str = "b@y.test", head: bytes = b"", **fields: Any
) -> Parcel:
    recipients = (Recipient(0, to, notify="NEVER", orcpt="rfc822;b@y.test"),)
    envelope = Envelope(path, recipients, **fields)
    return Parcel(envelope, recipients, 1000, head, nothing, fence)


def test_no_parameter_is_sent_that_was_not_announced() -> None:
    full = parcel(body="8BITMIME", ret="HDRS", envid="e1")

    assert mail_command(full, {}) == "MAIL FROM:<a@x.test>"
    assert rcpt_command(full.recipients[0], {}) == "RCPT TO:<b@y.test>"


def test_what_was_announced_is_used() -> None:
    full = parcel(body="8BITMIME", ret="HDRS", envid="e1")
    extensions = {"SIZE": "", "8BITMIME": "", "DSN": "", "SMTPUTF8": ""}

    assert mail_command(full, extensions) == (
        "MAIL FROM:<a@x.test> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=e1"
    )
    assert rcpt_command(full.recipients[0], extensions) == (
        "RCPT TO:<b@y.test> NOTIFY=NEVER ORCPT=rfc822;b@y.test"
    )


@pytest.mark.parametrize(
    ("item", "extensions", "status"),
    [
        (parcel(), {"SIZE": "999"}, "5.3.4"),
        (parcel(to="b\u00fc@y.test"), {}, "5.6.7"),
        (parcel(head="S: \u00fc".encode(), smtputf8=True), {}, "5.6.7"),
        (parcel(requiretls=True), {"REQUIRETLS": ""}, "5.7.30"),
        (parcel(body="BINARYMIME"), {"8BITMIME": ""}, "5.6.3"),
        (parcel(path="a@x>\r\nDATA"), {}, "5.1.7"),
    ],
)
def test_what_a_host_can_never_take_is_not_offered(
    item: Parcel, extensions: dict[str, str], status: str
) -> None:
    fate = impossible(item, extensions)

    assert fate is not None
    assert (fate.result, fate.status) == ("bounced", status)


@pytest.mark.parametrize(
    ("item", "extensions"),
    [
        (parcel(), {"SIZE": "0"}),
        (parcel(), {"SIZE": "junk"}),
        (parcel(smtputf8=True, head=b"plain"), {}),
        (parcel(to="b\u00fc@y.test"), {"SMTPUTF8": ""}),
        (parcel(path=""), {}),
    ],
)
def test_what_it_can_take_is_offered(item: Parcel, extensions: dict[str, str]) -> None:
    assert impossible(item, extensions) is None


def test_requiretls_goes_on_only_to_a_host_that_is_proven_and_asks_the_same() -> None:
    item = parcel(requiretls=True)

    assert impossible(item, {"REQUIRETLS": ""}, proven=True) is None
    assert impossible(item, {}, proven=True) is not None
    assert mail_command(item, {"REQUIRETLS": ""}).endswith(" REQUIRETLS")


def test_a_report_of_a_message_with_requiretls_is_not_thrown_away_for_it() -> None:
    """RFC 8689 §5: but where the next hop knows the parameter, it is asked."""
    report = parcel(path="", requiretls=True)

    assert impossible(report, {}) is None
    assert mail_command(report, {"REQUIRETLS": ""}).endswith(" REQUIRETLS")
