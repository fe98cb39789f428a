from __future__ import annotations

import email
from collections import Counter
from pathlib import Path

import pytest

from libs.protocols.smtp.refusal_class import HARD, RefusalClass, classify

C = RefusalClass


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        # Words come before the status.
        ("5.1.1", "550 5.1.1 203.0.113.2 has sent to too many recipients this hour", C.RATE),
        ("5.1.1", "550 5.1.1 Refused due to recipient preferences", C.POLICY),
        ("5.7.1", "553 Invalid recipient x@example.net (Mode: normal)", C.NO_MAILBOX),
        ("5.2.1", "550 5.2.1 User Unknown", C.NO_MAILBOX),
        ("5.2.1", "550 5.2.1 is receiving mail at a rate that prevents", C.RATE),
        # The sender's domain is not the recipient's.
        ("5.1.8", "553 Domain of sender address x@y.example does not exist", C.SENDER),
        ("5.1.8", "550 Sender address rejected: Domain not found", C.SENDER),
        ("5.7.1", "554 Helo command rejected: Host not found", C.HOST),
        # What an address or a link holds does not count.
        ("5.0.0", "550 <no-such-user-spam@virus.example> try later", C.OTHER),
        ("5.0.0", "550 see https://example.org/help?p=DisabledUser", C.OTHER),
        ("5.1.1", "", C.NO_MAILBOX),
        ("5.1.10", "", C.NO_DOMAIN),
        ("4.4.1", "", C.NETWORK),
        ("5.7.26", "550 no", C.AUTHENTICATION),
        ("4.7.0", "no", C.POLICY),
        ("5.0.0", "550 no", C.OTHER),
        ("", "", C.OTHER),
    ],
)
def test_words_count_before_the_status(status: str, text: str, kind: RefusalClass) -> None:
    assert classify(status, text) is kind


@pytest.mark.parametrize(
    "text",
    [
        "450 4.2.0 Recipient address rejected: Greylisted",
        "550 5.7.1 Recipient address rejected: Access denied",
        "550 Recipient address rejected: user temporarily locked, try again later",
        "552 5.2.2 Mailbox full",
        "550 Rejected",
        "550 Requested action not taken: mailbox unavailable",
    ],
)
def test_what_may_pass_next_time_is_not_hard(text: str) -> None:
    assert classify("5.7.1", text) not in HARD


def test_a_reply_of_any_length_is_looked_at_in_bounded_time() -> None:
    for piece in ("exceed ", "user ", "(", "message ", "ip "):
        assert classify("5.0.0", piece * 100_000) in RefusalClass


# What people read out of these reports, one by one.
KNOWN = {
    "lhost-amavis-01.eml": C.NO_MAILBOX,
    "lhost-amavis-03.eml": C.CONTENT,
    "lhost-amazonses-14.eml": C.HOST,
    "lhost-amazonses-16.eml": C.HOST,
    "lhost-amazonses-18.eml": C.NO_DOMAIN,
    "lhost-amazonses-20.eml": C.DISABLED,
    "lhost-amazonses-21.eml": C.POLICY,
    "lhost-exchange2007-02.eml": C.FULL,
    "lhost-exchange2007-03.eml": C.TOO_LARGE,
    "lhost-exchange2007-04.eml": C.AUTHENTICATION,
    "lhost-exim-43.eml": C.HOST,
    "lhost-messagingserver-11.eml": C.SENDER,
    "lhost-office365-08.eml": C.NETWORK,
    "lhost-postfix-06.eml": C.NO_DOMAIN,
    "lhost-postfix-08.eml": C.NETWORK,
    "lhost-postfix-09.eml": C.RATE,
    "lhost-postfix-56.eml": C.NETWORK,
    "lhost-postfix-61.eml": C.DISABLED,
    "lhost-postfix-62.eml": C.CONTENT,
    "lhost-postfix-71.eml": C.AUTHENTICATION,
    "lhost-sendmail-20.eml": C.LOOP,
    "lhost-sendmail-33.eml": C.HOST,
    "lhost-sendmail-35.eml": C.DISABLED,
    "make-test-05.eml": C.TOO_LARGE,
    "rhost-apple-03.eml": C.FULL,
    "rhost-cloudflare-01.eml": C.SYSTEM,
    "rhost-facebook-03.eml": C.POLICY,
    "rhost-godaddy-03.eml": C.RATE,
    "rhost-google-05.eml": C.FULL,
    "rhost-google-06.eml": C.HOST,
    "rhost-gsuite-04.eml": C.NO_DOMAIN,
    "rhost-microsoft-01.eml": C.HOST,
    "rhost-microsoft-04.eml": C.AUTHENTICATION,
    "rhost-microsoft-05.eml": C.RATE,
    "rhost-tencent-01.eml": C.RATE,
    "rhost-yahooinc-03.eml": C.NO_MAILBOX,
    "rhost-zoho-03.eml": C.CONTENT,
}


def replies(path: Path) -> list[tuple[str, str]]:
    """Status and diagnostic of each recipient, as the parser of the standard library reads it."""
    found = []
    for part in email.message_from_bytes(path.read_bytes()).walk():
        groups = part.get_payload()
        if part.get_content_type() == "message/delivery-status" and isinstance(groups, list):
            for group in groups:
                text = " ".join(str(group.get("Diagnostic-Code", "")).split())
                if text:
                    found.append((str(group.get("Status", "")).split(" ")[0].strip(), text))
    return found


def test_reports_of_fifty_mail_systems_are_told_apart(corpus: Path) -> None:
    classes: Counter[RefusalClass] = Counter()
    for path in sorted((corpus / "bounces").glob("*.eml")):
        kinds = [classify(*reply) for reply in replies(path)]
        classes.update(kinds)
        if path.name in KNOWN:
            assert KNOWN[path.name] in kinds, path.name
    assert classes.total() > 300
    assert classes[C.OTHER] < classes.total() / 12
