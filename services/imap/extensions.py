"""The CAPABILITY list: every entry with the test that drives it by a client that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What the list depends on."""

    tls_possible: bool
    tls_active: bool
    mechanisms: tuple[str, ...]
    """What AUTHENTICATE takes; none while LOGIN is not allowed either."""
    authenticated: bool
    compressed: bool = False
    append_limit: int = 0
    """Octets of the largest message that APPEND takes (RFC 7889)."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One word of the list."""

    name: str
    test: str
    """FILE::NAME in tests/integration/imap."""
    when: Callable[[Situation], bool] = lambda _: True


def _quiet(situation: Situation) -> bool:
    return not situation.compressed


def _takes(name: str) -> Callable[[Situation], bool]:
    return lambda s: name in s.mechanisms and not s.authenticated


CAPABILITIES = (
    Capability("IMAP4rev2", "test_login.py::test_imaplib_speaks_rev2"),
    Capability("IMAP4rev1", "test_fetch.py::test_imaplib_reads_a_message"),
    Capability("LITERAL+", "test_append.py::test_imapclient_appends"),
    Capability("SASL-IR", "test_programs.py::test_curl_reads_a_message"),
    Capability("ID", "test_login.py::test_imapclient_identifies_itself"),
    Capability("ENABLE", "test_login.py::test_imaplib_enables_nothing_unknown"),
    Capability("NAMESPACE", "test_mailboxes.py::test_imapclient_asks_for_the_namespace"),
    Capability("CHILDREN", "test_mailboxes.py::test_imapclient_lists_mailboxes"),
    Capability("SPECIAL-USE", "test_mailboxes.py::test_imapclient_lists_mailboxes"),
    Capability("CREATE-SPECIAL-USE", "test_mailboxes.py::test_imaplib_creates_for_a_special_use"),
    Capability("UIDPLUS", "test_append.py::test_imapclient_appends"),
    Capability("UNSELECT", "test_mailboxes.py::test_imapclient_unselects"),
    Capability("MOVE", "test_append.py::test_imapclient_moves"),
    Capability("MULTIAPPEND", "test_append.py::test_imapclient_appends_many_at_once"),
    Capability("REPLACE", "test_append.py::test_imaplib_replaces_a_draft"),
    Capability("CATENATE", "test_append.py::test_imaplib_puts_a_message_together"),
    Capability("BINARY", "test_fetch.py::test_imaplib_fetches_decoded_parts"),
    Capability("UTF8=ACCEPT", "test_append.py::test_imaplib_accepts_utf8"),
    Capability("ESEARCH", "test_search.py::test_imaplib_asks_for_search_results_in_short"),
    Capability("SEARCHRES", "test_search.py::test_imaplib_uses_a_saved_result"),
    Capability("WITHIN", "test_search.py::test_imapclient_searches_within_a_time"),
    Capability("PARTIAL", "test_search.py::test_imaplib_asks_for_a_part_of_the_results"),
    Capability("SORT", "test_search.py::test_imapclient_sorts"),
    Capability("SORT=DISPLAY", "test_search.py::test_imapclient_sorts"),
    Capability("ESORT", "test_search.py::test_imaplib_sorts_in_short"),
    Capability("THREAD=REFERENCES", "test_search.py::test_imapclient_threads"),
    Capability("THREAD=REFS", "test_search.py::test_imapclient_threads"),
    Capability("THREAD=ORDEREDSUBJECT", "test_search.py::test_imapclient_threads"),
    Capability("LIST-EXTENDED", "test_mailboxes.py::test_imaplib_lists_with_options"),
    Capability("LIST-STATUS", "test_mailboxes.py::test_imaplib_lists_with_options"),
    Capability("LIST-METADATA", "test_mailboxes.py::test_imaplib_annotates_mailboxes"),
    Capability("METADATA", "test_mailboxes.py::test_imaplib_annotates_mailboxes"),
    Capability("STATUS=SIZE", "test_mailboxes.py::test_imapclient_asks_for_the_size_of_a_mailbox"),
    Capability("QUOTA", "test_mailboxes.py::test_imapclient_asks_for_the_quota"),
    Capability("QUOTA=RES-STORAGE", "test_mailboxes.py::test_imapclient_asks_for_the_quota"),
    Capability("QUOTA=RES-MESSAGE", "test_mailboxes.py::test_imapclient_asks_for_the_quota"),
    Capability("APPENDLIMIT", "test_append.py::test_imaplib_is_told_the_largest_message"),
    Capability("OBJECTID", "test_mailboxes.py::test_imaplib_recognises_objects"),
    Capability("PREVIEW", "test_fetch.py::test_imaplib_fetches_previews_and_dates"),
    Capability("SAVEDATE", "test_fetch.py::test_imaplib_fetches_previews_and_dates"),
    Capability("CONDSTORE", "test_sync.py::test_imapclient_resynchronises_by_modseq"),
    Capability("QRESYNC", "test_sync.py::test_imaplib_resynchronises_quickly"),
    Capability("UIDONLY", "test_sync.py::test_imaplib_does_without_sequence_numbers"),
    Capability("IDLE", "test_sync.py::test_imapclient_is_told_of_new_mail_while_idle"),
    Capability("UNAUTHENTICATE", "test_login.py::test_imaplib_becomes_somebody_else"),
    Capability("COMPRESS=DEFLATE", "test_login.py::test_imaplib_compresses", _quiet),
    Capability(
        "STARTTLS",
        "test_login.py::test_imaplib_upgrades_to_tls",
        lambda s: s.tls_possible and not s.tls_active,
    ),
    *(
        Capability(f"AUTH={name}", f"test_sasl.py::test_{test}", _takes(name))
        for name, test in (
            ("SCRAM-SHA-256-PLUS", "gsasl_binds_scram_to_the_channel"),
            ("SCRAM-SHA-1-PLUS", "gsasl_binds_scram_to_the_channel"),
            ("SCRAM-SHA-256", "gsasl_authenticates"),
            ("SCRAM-SHA-1", "gsasl_authenticates"),
            ("PLAIN", "gsasl_authenticates"),
            ("LOGIN", "gsasl_authenticates"),
        )
    ),
    Capability(
        "LOGINDISABLED",
        "test_login.py::test_imaplib_cannot_log_in_without_tls",
        lambda s: not s.mechanisms and not s.authenticated,
    ),
)


def capability_list(situation: Situation) -> bytes:
    """The words in force in this situation."""
    words = [c.name for c in CAPABILITIES if c.when(situation)]
    limit = f"APPENDLIMIT={situation.append_limit}"
    return " ".join(limit if word == "APPENDLIMIT" else word for word in words).encode()
