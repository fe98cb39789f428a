"""The knobs of filter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from libs.common.runtime.settings import HolubSettings, settings_config
from services.filter.thresholds import Scores, Thresholds


class FilterSettings(HolubSettings):
    """Which engines there are, what their answers mean, and what happens when none answers."""

    model_config = settings_config("FILTER")

    clamd: str = ""
    """Comma-separated daemons, `tcp://HOST:PORT` or `unix:///PATH`, tried in order; empty: none."""

    clamd_seconds: float = Field(default=30, gt=0)
    """How long one scan may take before the daemon is left for another."""

    clamd_sessions: int = Field(default=4, ge=1, le=64)
    """Scans at the same time on one daemon."""

    clamd_max_octets: int = Field(default=100 * 1024 * 1024, ge=1024)
    """The daemon's StreamMaxLength: larger content is not sent to it."""

    unscanned: Literal["tempfail", "hold", "accept-and-mark"] = "tempfail"
    """What becomes of mail while no daemon answers.  `tempfail` and `hold` keep it waiting until
    one does (a message that is here was accepted, so it is never refused); with `tempfail` ingress
    answers 451 4.3.2 to MAIL of other hosts meanwhile.  Both quarantine what no daemon can ever
    take, what exceeds its limits (its AlertExceedsMax) and encrypted archives
    (AlertEncrypted); `accept-and-mark` delivers it with `X-Holub-Unscanned: yes`."""

    rspamd: str = ""
    """Comma-separated daemons, `http://HOST:PORT` of their normal or proxy worker, tried in order;
    empty: none.  rspamd is told what we found of the sender and does not ask DNS for it again."""

    rspamd_controller: str = ""
    """`http://HOST:PORT` of the controller worker, which learns; empty: the first daemon."""

    rspamd_password: SecretStr = SecretStr("")
    """The password of the controller; empty: it takes us without one (`secure_ip`)."""

    rspamd_scores: Scores = Thresholds(junk=6, reject=15)
    """From which score on a message is `junk`, `quarantine` or `reject`; what is not named never
    happens: `junk=6,reject=15`."""

    spamd: str = ""
    """Comma-separated SpamAssassin daemons, `tcp://HOST:PORT` or `unix:///PATH`, tried in order;
    empty: none.  They learn when they run with `--allow-tell`."""

    spamd_scores: Scores = Thresholds(junk=5, reject=15)
    """The same for SpamAssassin's scores.  With both engines the more severe one counts."""

    spam_seconds: float = Field(default=8, gt=0, le=60)
    """How long an answer about spam may take before the daemon is left for another."""

    spam_sessions: int = Field(default=8, ge=1, le=256)
    """Questions at the same time to one kind of engine."""

    spam_max_octets: int = Field(default=1024 * 1024, ge=1024)
    """Larger messages are not asked about: spam is small, and scoring is dear."""

    spam_submitted: bool = False
    """Whether mail of people who logged in is scored as well."""

    unscored: Literal["accept-and-mark", "hold"] = "accept-and-mark"
    """What becomes of mail while no spam engine answers.  `accept-and-mark` delivers it with
    `X-Holub-Unscored: yes`; `hold` keeps it waiting for `HOLUB_FILTER_UNSCORED_SECONDS`, and
    quarantines it then."""

    unscored_seconds: float = Field(default=3600, ge=1)
    """How long after it was received mail may wait for a spam engine."""

    dmarc: Literal["off", "report", "junk", "reject"] = "junk"
    """What follows when mail from outside is not authenticated.  `junk`: what the author's domain
    disowns goes to Junk; `reject`: it is refused where the domain asks for that; `report`: the
    results only stand in Authentication-Results; `off`: nothing is checked.  Clients with private
    addresses are only checked when HOLUB_DNS_SERVERS is set."""

    trusted_sealers: str = ""
    """Comma-separated domains whose ARC seals are believed (RFC 8617): forwarders and mailing lists
    that say how a message was authenticated before they changed it."""

    authentication_seconds: float = Field(default=5, gt=0, le=60)
    """How long the checks of one message may wait for DNS; then their result is `temperror`."""

    rescan_hours: float = Field(default=0, ge=0, le=720)
    """When clamd has new signatures, mail delivered within so many hours is checked again, and what
    they find goes from mailboxes to quarantine; 0: only on demand (`holub rescan`)."""

    rescan_per_second: float = Field(default=20, gt=0, le=1000)
    """Delivered messages that a process checks again in a second, at most: live mail goes first."""

    batch: int = Field(default=64, ge=1, le=1000)
    """Jobs that are committed in one transaction at most."""

    concurrency: int = Field(default=4, ge=1, le=32)
    """Batches under way at the same time in one process."""

    interval_seconds: float = Field(default=0.01, ge=0, le=1)
    """Time between the beginnings of two batches under load; more makes batches larger."""

    unhurried_seconds: float = Field(default=0.1, ge=0, le=1)
    """The same while no client waits for a verdict (HOLUB_INGRESS_VERDICT_SECONDS=0)."""

    memory_octets: int = Field(default=128 * 1024 * 1024, ge=1024 * 1024)
    """Content that is in memory at the same time; a larger message is examined alone."""
