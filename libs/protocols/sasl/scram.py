"""SCRAM (RFC 5802, RFC 7677): neither side sends or keeps the password.

Of the server's keys nobody gets back the password, and who only reads them cannot log in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from libs.protocols.sasl.plain import refuse_other, text
from libs.protocols.sasl.step import Challenge, ExchangeError, FindKeys, Proved, Step, Wrong

ITERATIONS = {"SHA-1": 4096, "SHA-256": 4096}
"""RFC 7677 §4 asks for 4096 at least; more would be slow for the client's phone."""
_DIGESTS = {"SHA-1": "sha1", "SHA-256": "sha256"}
_SIZES = {"SHA-1": 20, "SHA-256": 32}
_MOST_ITERATIONS = 1_000_000
_STORED = re.compile(
    r"SCRAM-(SHA-1|SHA-256)\$(\d{1,7}):([A-Za-z0-9+/=]{4,88})"
    r"\$([A-Za-z0-9+/=]{28,44}):([A-Za-z0-9+/=]{28,44})"
)


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password for one hash (RFC 5802 §3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    @classmethod
    def derive(cls, hash_name: str, password: bytes, salt: bytes) -> ScramKeys:
        """The keys of a password in its SASLprep form; takes milliseconds."""
        digest, iterations = _DIGESTS[hash_name], ITERATIONS[hash_name]
        salted = hashlib.pbkdf2_hmac(digest, password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", digest)
        stored_key = hashlib.new(digest, client_key).digest()
        return cls(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", digest))

    def encode(self, hash_name: str) -> str:
        """As RFC 5803 §3 writes them: `SCRAM-SHA-256$4096:SALT$STORED:SERVER`."""
        salt, stored, server = (
            base64.b64encode(octets).decode()
            for octets in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-{hash_name}${self.iterations}:{salt}${stored}:{server}"


def decode_keys(stored: str) -> dict[str, ScramKeys]:
    """hash name -> keys, of encoded keys with spaces between; `ValueError` when one is none."""
    found = {}
    for word in stored.split():
        match = _STORED.fullmatch(word)
        if match is None or not ITERATIONS[match[1]] <= int(match[2]) <= _MOST_ITERATIONS:
            raise ValueError("not SCRAM keys as in RFC 5803 §3")
        salt, stored_key, server_key = (
            base64.b64decode(match[n], validate=True) for n in (3, 4, 5)
        )
        if len(stored_key) != len(server_key) or len(stored_key) != _SIZES[match[1]]:
            raise ValueError("SCRAM keys are as long as their hash (RFC 5802 §3)")
        found[match[1]] = ScramKeys(salt, int(match[2]), stored_key, server_key)
    return found


class Scram:
    """One exchange: client-first, server-first, client-final, server-final."""

    def __init__(
        self, hash_name: str, nonce: str, bindings: Mapping[str, bytes], *, plus: bool
    ) -> None:
        self.hash_name = hash_name
        self._digest = _DIGESTS[hash_name]
        self._nonce = nonce
        self._bindings = bindings
        self._plus = plus
        self._login = ""
        self._client_first = b""
        self._server_first = b""
        self._gs2_header = b""
        self._binding = b""
        self._keys: ScramKeys | None = None

    def begin(self, initial: bytes | None) -> Step:
        """Without an initial response the challenge is empty."""
        return Challenge(b"") if initial is None else self.receive(initial)

    def receive(self, response: bytes) -> Step:
        """client-first, then client-final."""
        return self._first(response) if self._keys is None else self._final(response, self._keys)

    def keys(self, keys: ScramKeys) -> Step:
        """server-first, with the account's keys."""
        self._keys = keys
        salt = base64.b64encode(keys.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={keys.iterations}".encode()
        return Challenge(self._server_first)

    def _first(self, message: bytes) -> Step:
        flag, _, rest = message.partition(b",")
        authzid, comma, bare = rest.partition(b",")
        if not comma:
            raise ExchangeError("the message begins with a GS2 header, n,, (RFC 5802 §7)")
        self._gs2_header = flag + b"," + authzid + b","
        self._binding = self._channel(text(flag))
        fields = text(bare).split(",")
        if fields[0].startswith("m="):
            raise ExchangeError("no mandatory extension is known here (RFC 5802 §5.1)")
        if len(fields) < 2 or not (fields[0].startswith("n=") and fields[1].startswith("r=")):
            raise ExchangeError("client-first is n=NAME,r=NONCE (RFC 5802 §7)")
        if len(fields[1]) < 10 or not (fields[1].isascii() and fields[1].isprintable()):
            raise ExchangeError("the nonce has 8 printable characters or more (RFC 5802 §5.1)")
        self._login = _name(fields[0][2:])
        if authzid:
            if not authzid.startswith(b"a="):
                raise ExchangeError("the authorization identity is given as a=NAME")
            refuse_other(_name(text(authzid[2:])), self._login)
        self._client_first = bare
        self._nonce = fields[1][2:] + self._nonce
        return FindKeys(self._login)

    def _channel(self, flag: str) -> bytes:
        """The data that the channel is bound by (RFC 5802 §6)."""
        if flag.startswith("p="):
            if not self._plus:
                raise ExchangeError("channel binding needs the -PLUS mechanism (RFC 5802 §6)")
            binding = self._bindings.get(flag[2:])
            if binding is None:
                known = ", ".join(self._bindings)
                raise ExchangeError(f"channel bindings here are {known}, not {flag[2:]}")
            return binding
        if self._plus:
            raise ExchangeError("-PLUS needs p=TYPE (RFC 5802 §6)")
        if flag == "y" and self._bindings:
            # Somebody in between took -PLUS out of our list.
            raise ExchangeError("we do offer channel binding: somebody changed our list")
        if flag not in ("n", "y"):
            raise ExchangeError("the channel binding flag is n, y or p=TYPE (RFC 5802 §7)")
        return b""

    def _final(self, message: bytes, keys: ScramKeys) -> Step:
        without_proof, found, proof_text = message.rpartition(b",p=")
        fields = without_proof.split(b",")
        if not found or len(fields) < 2:
            raise ExchangeError("client-final is c=BINDING,r=NONCE,p=PROOF (RFC 5802 §7)")
        binding = base64.b64encode(self._gs2_header + self._binding)
        # These two are no proof of a password, but a wrong one is somebody in between.
        if not hmac.compare_digest(fields[0], b"c=" + binding):
            return Wrong(self._login)
        if not hmac.compare_digest(fields[1], b"r=" + self._nonce.encode()):
            return Wrong(self._login)
        try:
            proof = base64.b64decode(proof_text, validate=True)
        except binascii.Error as error:
            raise ExchangeError("the proof is no base64") from error
        signed = b",".join((self._client_first, self._server_first, without_proof))
        signature = hmac.digest(keys.stored_key, signed, self._digest)
        if len(proof) != len(signature):
            return Wrong(self._login)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self._digest, client_key).digest(), keys.stored_key):
            return Wrong(self._login)
        ours = hmac.digest(keys.server_key, signed, self._digest)
        return Proved(self._login, b"v=" + base64.b64encode(ours))


def _name(encoded: str) -> str:
    """A saslname (RFC 5802 §7): `=2C` is a comma and `=3D` an equals sign."""
    name = encoded.replace("=2C", ",").replace("=3D", "=")
    if not name or encoded.count("=") != encoded.count("=2C") + encoded.count("=3D"):
        raise ExchangeError("in a name, = is written =3D and a comma =2C (RFC 5802 §7)")
    return name
