"""EXTERNAL: the proof is the client's TLS certificate (RFC 4422, appendix A)."""

from __future__ import annotations

from libs.protocols.sasl.plain import text
from libs.protocols.sasl.step import Challenge, CheckCertificate, Step


class External:
    """The response is the account, or empty for the one that the certificate names."""

    def begin(self, initial: bytes | None) -> Step:
        """Without an initial response the challenge is empty."""
        return Challenge(b"") if initial is None else self.receive(initial)

    def receive(self, response: bytes) -> Step:
        """The authorization identity."""
        return CheckCertificate(text(response))
