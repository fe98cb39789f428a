"""Who exists here: domains, accounts, aliases and their credentials."""

from libs.common.accounts.account import Account, RecipientKind, Targets
from libs.common.accounts.directory import Directory, DirectoryUnavailable

__all__ = ["Account", "Directory", "DirectoryUnavailable", "RecipientKind", "Targets"]
