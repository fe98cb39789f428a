"""DNS of one's own: knot signs the zones, unbound validates them, both on loopback.

`example.test` and `signed.test` are secure, `plain.test` has no signatures, and `bogus.test` has
none although the resolver expects them, so every answer from it is SERVFAIL.  The names of the
addresses 192.0.2.0/24 can be set, too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import (
    ServerProcess,
    ServerUnavailable,
    accepts,
    find_program,
    free_ports,
)

SIGNED = ("example.test", "signed.test")
REVERSE = "2.0.192.in-addr.arpa"
"""Names of 192.0.2.0/24, which is for examples (RFC 5737 §3)."""
UNSIGNED = ("plain.test", "bogus.test", REVERSE)

_ZONE = """\
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
@ MX 10 mx
@ TXT "v=spf1 ip4:127.0.0.1 -all"
ns A 127.0.0.1
mx A 127.0.0.1
"""
_KNOT = """\
server:
  rundir: {folder}
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: {folder}/knot.sock
database:
  storage: {folder}
log:
  - target: stdout
    any: warning
policy:
  - id: fast
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
zone:
{zones}
"""
_UNBOUND = """\
server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  num-threads: 1
  module-config: "validator iterator"
  do-not-query-localhost: no
  do-ip6: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  aggressive-nsec: no
  key-cache-size: 1m
  local-zone: "." always_nxdomain
  local-zone: "test." transparent
  local-zone: "{reverse}." transparent
{anchors}
remote-control:
  control-enable: no
{stubs}
"""
# The digest of a key that nobody has.
_NO_KEY = "12345 13 2 " + "0123456789abcdef" * 4


class Dns:
    """An authoritative server and a validating resolver; `set` changes records at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._knot_port, self.port = free_ports(2)
        self._config = str(folder / "knot.conf")
        self._knotc = find_program("knotc")
        self._keymgr = find_program("keymgr")
        knotd, unbound = find_program("knotd"), find_program("unbound")
        self.knot = ServerProcess([knotd, "-c", self._config], folder, log="knot.log")
        self.unbound = ServerProcess(
            [unbound, "-d", "-c", str(folder / "unbound.conf")], folder, log="unbound.log"
        )

    @property
    def servers(self) -> str:
        """HOLUB_DNS_SERVERS."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start both, and return when the resolver has the zones' keys."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for zone in SIGNED + UNSIGNED:
            (self._folder / f"{zone}.zone").write_text(_ZONE)
        self._write_knot()
        self.knot.launch()
        self.knot.wait_until(lambda: accepts(self._knot_port) and self._loaded(), 30)
        self._write_unbound()
        self.unbound.launch()
        self.unbound.wait_until(lambda: accepts(self.port), 30)

    def _write_knot(self) -> None:
        signing = "    dnssec-signing: on\n    dnssec-policy: fast\n"
        zones = "".join(
            f"  - domain: {zone}\n{signing if zone in SIGNED else ''}" for zone in SIGNED + UNSIGNED
        )
        Path(self._config).write_text(
            _KNOT.format(folder=self._folder, port=self._knot_port, zones=zones)
        )

    def _write_unbound(self) -> None:
        ds = [self._run(self._keymgr, "-c", self._config, zone, "ds") for zone in SIGNED]
        # Several digests of one key are given; the one of SHA-256 is enough.
        lines = [line for text in ds for line in text.splitlines() if " 13 2 " in line]
        lines.append(f"bogus.test. DS {_NO_KEY}")
        anchors = "".join(f'  trust-anchor: "{line}"\n' for line in lines)
        stubs = "".join(
            f'stub-zone:\n  name: "{zone}."\n  stub-addr: 127.0.0.1@{self._knot_port}\n'
            for zone in SIGNED + UNSIGNED
        )
        (self._folder / "unbound.conf").write_text(
            _UNBOUND.format(
                folder=self._folder,
                port=self.port,
                anchors=anchors,
                stubs=stubs,
                reverse=REVERSE,
            )
        )

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise ServerUnavailable(f"{' '.join(argv)}: {done.stderr}{done.stdout}")
        return done.stdout

    def _control(self, *words: str) -> str:
        return self._run(self._knotc, "-c", self._config, *words)

    def _loaded(self) -> bool:
        try:
            status = self._control("zone-status")
        except ServerUnavailable:
            return False
        return all(zone in status for zone in SIGNED + UNSIGNED) and "| serial: -" not in status

    def set(self, owner: str, kind: str, values: Sequence[str], ttl: int = 60) -> None:
        """Replace the records of a type at an owner (no values: remove them); signed at once."""
        zone = next(z for z in SIGNED + UNSIGNED if owner == z or owner.endswith(f".{z}"))
        self._control("zone-begin", zone)
        try:
            # What is not there cannot be unset, and that is as good.
            if self._has(zone, owner, kind):
                self._control("zone-unset", zone, f"{owner}.", kind)
            for value in values:
                self._control("zone-set", zone, f"{owner}.", str(ttl), kind, value)
        except ServerUnavailable:
            self._control("zone-abort", zone)
            raise
        self._control("zone-commit", zone)

    def _has(self, zone: str, owner: str, kind: str) -> bool:
        try:
            return bool(self._control("zone-get", zone, f"{owner}.", kind).strip())
        except ServerUnavailable:
            return False

    def stop(self) -> None:
        """End both."""
        self.unbound.kill()
        self.knot.kill()
