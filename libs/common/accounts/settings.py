"""The knobs of logging in, the same for all roles that take logins."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from libs.common.runtime.settings import HolubSettings, settings_config


class AuthenticationSettings(HolubSettings):
    """How often a login may fail, and which proofs are taken."""

    model_config = settings_config("AUTH")

    scram: Literal["auto", "always", "never"] = "auto"
    """Announce SCRAM: `auto` while every account has keys for it.  Those of an imported hash are
    made at the first login with the password itself, and most clients that see SCRAM try nothing
    else; so until then nobody is told.  Whoever asks for SCRAM may use it at any time."""

    failures_per_ip: int = Field(default=20, ge=0)
    """Failed logins of one address in `window_seconds`, then it is blocked; 0: never."""

    failures_per_network: int = Field(default=60, ge=0)
    """The same for an IPv6 /64."""

    failures_per_account: int = Field(default=100, ge=0)
    """The same for one account, from all addresses together; addresses from which its owner
    logged in before are not blocked with it."""

    window_seconds: int = Field(default=600, ge=1)
    """The time in which failures are counted."""

    block_seconds: float = Field(default=900, gt=0)
    """How long a block lasts."""

    failure_seconds: float = Field(default=1.0, ge=0, le=10)
    """A failed login is answered after this time at the soonest, whatever the reason was."""
