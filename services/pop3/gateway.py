"""What all sessions of the process share."""

from __future__ import annotations

import ssl

from libs.common.accounts.authenticator import Authenticator
from libs.common.mailstore import MailStore
from services import conversation
from services.pop3.settings import Pop3Settings


class Gateway(conversation.Gateway[Pop3Settings]):
    """One per process.  A session that its drain ends deletes nothing."""

    def __init__(
        self,
        settings: Pop3Settings,
        store: MailStore,
        authenticator: Authenticator,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(settings, authenticator, tls)
        self.store = store
