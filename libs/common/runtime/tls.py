"""TLS for listeners: one certificate for all names, others by SNI, read anew when files change.

Sessions that are open keep what they have: only handshakes after a change see the new files.
Files that cannot be used are said in the log, and the ones before stay in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from prometheus_client import Gauge

from libs.common.runtime.log import get_logger
from libs.common.runtime.routine import end
from libs.common.runtime.settings import PlatformSettings, SettingsError
from libs.common.runtime.survive import survive

log = get_logger(__name__)
_DAYS = Gauge("holub_tls_certificate_days", "Days until a certificate of ours expires.", ["name"])
LOOK_SECONDS = 10.0
"""How often the files are looked at."""

Seen = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Certificate:
    """One chain with its key, ready for handshakes."""

    context: ssl.SSLContext
    names: tuple[str, ...]
    """Its DNS names in lower case; `*.example.org` stands for one label."""
    expires_at: float

    @property
    def label(self) -> str:
        """What it is called in metrics and the log."""
        return self.names[0] if self.names else "default"


class Certificates:
    """Those of one process; `context` is what listeners are given."""

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._by_name: dict[str, Certificate] = {}
        self._seen: Seen = {}
        self._unusable: Seen = {}
        self._labels: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._default = self._load()
        self.context = _context(*self._pair)
        # Called at each handshake, also when the client names nobody.
        self.context.sni_callback = self._choose

    def start(self) -> None:
        """Look for changed files from now on."""
        self._task = self._task or asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        await end(self._task)

    def find(self, name: str | None) -> Certificate:
        """The certificate for a name that a client asks for."""
        name = (name or "").lower()
        wildcard = f"*.{name.partition('.')[2]}"
        return self._by_name.get(name) or self._by_name.get(wildcard) or self._default

    def reload(self) -> bool:
        """Read the files again when they have changed; False when that did not work."""
        files = self._files()
        if files == self._seen:
            return True
        if files == self._unusable:
            return False
        try:
            self._default = self._load()
        except (SettingsError, OSError, ValueError) as error:
            self._unusable = files
            log.error("certificates stay as they were", error=str(error))
            return False
        log.info("certificates read", names=sorted(self._labels))
        return True

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.find(name).context

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with survive(log, "certificates stay as they were"):
                self.reload()

    @property
    def _pair(self) -> tuple[Path, Path]:
        return Path(self._settings.tls_certificate), Path(self._settings.tls_key)

    def _pairs(self) -> list[tuple[Path, Path]]:
        folder = self._settings.tls_folder
        more = sorted(Path(folder).glob("*/tls.crt")) if folder else []
        return [self._pair, *((path, path.with_name("tls.key")) for path in more)]

    def _files(self) -> Seen:
        """What tells a changed file: one that was replaced has another inode."""
        found = {}
        for path in (path for pair in self._pairs() for path in pair):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found[str(path)] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return found

    def _load(self) -> Certificate:
        """All of them, or none: the default one is returned."""
        seen = self._files()
        loaded = [_load(*pair) for pair in self._pairs()]
        # An earlier one wins, and the default one wins over all others.
        self._by_name = {name: one for one in reversed(loaded) for name in one.names}
        self._seen = seen
        self._tell({one.label: one.expires_at for one in reversed(loaded)})
        return loaded[0]

    def _tell(self, expires: Mapping[str, float]) -> None:
        for gone in self._labels - set(expires):
            _DAYS.remove(gone)
        self._labels = set(expires)
        for label, at in expires.items():
            _DAYS.labels(label).set_function(partial(_days_until, at))


def _days_until(at: float) -> float:
    return (at - time.time()) / 86400


def _load(certificate: Path, key: Path) -> Certificate:
    for path in (certificate, key):
        if not path.is_file():
            raise SettingsError(
                "HOLUB_TLS_CERTIFICATE, HOLUB_TLS_KEY, HOLUB_TLS_FOLDER:"
                f" no such file: {str(path)!r}"
            )
    try:
        context = _context(certificate, key)
    except ssl.SSLError as error:
        raise SettingsError(f"{certificate} and {key} do not belong together: {error}") from error
    leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns = ()
    return Certificate(context, dns, leaf.not_valid_after_utc.timestamp())


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client of TLS 1.2 could make us compute without end (CVE-2011-1473).
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    return context
