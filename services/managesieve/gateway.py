"""What all sessions of the process share."""

from __future__ import annotations

import ssl

from libs.common.accounts.authenticator import Authenticator
from libs.common.db import Database
from services import conversation
from services.managesieve.settings import ManageSieveSettings


class Gateway(conversation.Gateway[ManageSieveSettings]):
    """One per process."""

    def __init__(
        self,
        settings: ManageSieveSettings,
        database: Database,
        authenticator: Authenticator,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(settings, authenticator, tls)
        self.database = database
