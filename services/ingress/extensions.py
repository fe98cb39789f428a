"""The EHLO list: every extension with the test that drives it by a client that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What the list depends on."""

    max_message_octets: int
    max_recipients: int
    tls_possible: bool
    tls_active: bool
    authenticated: bool
    mechanisms: tuple[str, ...]
    """What AUTH takes here; none where it is not to be had."""
    xclient: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """One line of the answer to EHLO."""

    line: Callable[[Situation], str]
    test: str
    """tests/integration/clients/test_smtp.py::NAME"""


def _when(condition: bool, line: str) -> str:
    return line if condition else ""


EXTENSIONS = (
    Extension(
        lambda s: f"SIZE {s.max_message_octets}", "test_smtplib_is_told_of_a_message_too_big"
    ),
    Extension(lambda _: "PIPELINING", "test_swaks_sends_pipelined"),
    Extension(lambda _: "8BITMIME", "test_smtplib_sends_eight_bits"),
    Extension(lambda _: "SMTPUTF8", "test_smtplib_sends_to_an_internationalised_address"),
    Extension(lambda _: "ENHANCEDSTATUSCODES", "test_smtplib_hears_enhanced_status_codes"),
    Extension(lambda _: "CHUNKING", "test_smtplib_sends_the_chunks_of_rfc_3030"),
    Extension(
        # RFC 9422 §4: what a client can plan with.
        lambda s: f"LIMITS RCPTMAX={s.max_recipients}",
        "test_the_announced_limit_of_recipients_is_the_one_in_force",
    ),
    Extension(lambda _: "DSN", "test_smtplib_sends_dsn_parameters"),
    Extension(
        lambda s: _when(s.tls_possible and not s.tls_active, "STARTTLS"),
        "test_smtplib_upgrades_to_tls",
    ),
    Extension(
        # RFC 8689 §2: only under TLS; relay sends it on to hosts that promise the same.
        lambda s: _when(s.tls_active, "REQUIRETLS"),
        "test_smtplib_requires_tls_for_the_whole_way",
    ),
    Extension(
        lambda s: _when(s.xclient, "XCLIENT NAME ADDR HELO"),
        "test_swaks_says_for_whom_it_comes_with_xclient",
    ),
    Extension(
        lambda s: _when(
            bool(s.mechanisms) and not s.authenticated, f"AUTH {' '.join(s.mechanisms)}"
        ),
        "test_smtplib_logs_in",
    ),
)


def ehlo_lines(situation: Situation) -> list[str]:
    """The extensions in force in this situation."""
    return [line for e in EXTENSIONS if (line := e.line(situation))]
