"""The CAPABILITY list: every entry with the test that drives it by a client that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What the list depends on."""

    tls_possible: bool
    tls_active: bool
    login_allowed: bool
    authenticated: bool


@dataclass(frozen=True, slots=True)
class Capability:
    """One word of the list."""

    name: str
    test: str
    """tests/integration/imap/test_clients.py::NAME"""
    when: Callable[[Situation], bool] = lambda _: True


CAPABILITIES = (
    Capability("IMAP4rev1", "test_imaplib_reads_a_message"),
    Capability("LITERAL+", "test_imapclient_appends"),
    Capability("SASL-IR", "test_curl_reads_a_message"),
    Capability("ID", "test_imapclient_identifies_itself"),
    Capability("ENABLE", "test_imaplib_enables_nothing_unknown"),
    Capability("NAMESPACE", "test_imapclient_asks_for_the_namespace"),
    Capability("CHILDREN", "test_imapclient_lists_mailboxes"),
    Capability("SPECIAL-USE", "test_imapclient_lists_mailboxes"),
    Capability("UIDPLUS", "test_imapclient_appends"),
    Capability("UNSELECT", "test_imapclient_unselects"),
    Capability("MOVE", "test_imapclient_moves"),
    Capability("MULTIAPPEND", "test_imapclient_appends_many_at_once"),
    Capability("ESEARCH", "test_imaplib_asks_for_search_results_in_short"),
    Capability("LIST-EXTENDED", "test_imaplib_lists_with_options"),
    Capability("LIST-STATUS", "test_imaplib_lists_with_options"),
    Capability("STATUS=SIZE", "test_imapclient_asks_for_the_size_of_a_mailbox"),
    Capability("CONDSTORE", "test_imapclient_resynchronises_by_modseq"),
    Capability("IDLE", "test_imapclient_is_told_of_new_mail_while_idle"),
    Capability(
        "STARTTLS", "test_imaplib_upgrades_to_tls", lambda s: s.tls_possible and not s.tls_active
    ),
    Capability(
        "AUTH=PLAIN",
        "test_curl_reads_a_message",
        lambda s: s.login_allowed and not s.authenticated,
    ),
    Capability(
        "LOGINDISABLED",
        "test_imaplib_cannot_log_in_without_tls",
        lambda s: not s.login_allowed and not s.authenticated,
    ),
)


def capability_list(situation: Situation) -> bytes:
    """The words in force in this situation."""
    return " ".join(c.name for c in CAPABILITIES if c.when(situation)).encode()
