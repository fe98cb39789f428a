"""Who may send what to whom: decided before DATA, so that nothing is bounced later."""

from __future__ import annotations

from libs.common.accounts import Account, Directory, DirectoryUnavailable, RecipientKind
from libs.common.accounts.directory import is_required
from libs.protocols.message.author import read_author
from libs.protocols.message.header import parse_header
from libs.protocols.smtp.path import Path
from libs.protocols.smtp.reply import Refusal, Reply

UNKNOWN = "no such address here; check the spelling"
DIRECTORY_AWAY = Reply(451, "4.3.0", "cannot look up the address now; please try again later")
NOBODY_YET = Reply(450, "4.2.1", "nobody reads mail for this domain yet; please try again later")
_REPLIES = {
    RecipientKind.UNKNOWN: Reply(550, "5.1.1", UNKNOWN),
    RecipientKind.DISABLED: Reply(550, "5.2.1", "this account is suspended and takes no mail"),
    RecipientKind.OVER_QUOTA: Reply(452, "4.2.2", "this mailbox is full; please try again later"),
    RecipientKind.REMOTE: Reply(
        550, "5.7.1", "we relay only for our own users; authenticate on the submission port first"
    ),
}


def may_relay(account: Account | None) -> bool:
    """I8: only who logged in may send elsewhere.  No source network ever has that right."""
    return account is not None


async def check_sender(directory: Directory, account: Account | None, path: Path) -> None:
    """Who logged in may only use reverse-paths of their own (RFC 6409 §6.1)."""
    if account is None or not path.domain:
        return
    try:
        allowed = await directory.may_send_as(account, path.address)
    except DirectoryUnavailable as error:
        raise Refusal(DIRECTORY_AWAY) from error
    if not allowed:
        text = f"{account.address} may not send as {path.address}; use your own address"
        raise Refusal(Reply(553, "5.7.1", text))


async def check_author(directory: Directory, account: Account, header: bytes) -> None:
    """From, which people see, must be the account's own as well (RFC 6409 §6.1)."""
    author = read_author(parse_header(header))
    if author.missing:
        return
    if not author.addresses:
        text = f"{author.reason}; write one From field with your own address"
        raise Refusal(Reply(550, "5.7.1", text))
    for one in author.addresses:
        address = b"@".join((one.local_part or b"", one.domain or b"")).decode(errors="replace")
        try:
            allowed = await directory.may_send_as(account, address)
        except DirectoryUnavailable as error:
            raise Refusal(DIRECTORY_AWAY) from error
        if not allowed:
            text = f"{account.address} may not write mail from {address}; use your own address"
            raise Refusal(Reply(550, "5.7.1", text))


async def with_domain(directory: Directory, path: Path, hostname: str) -> Path:
    """`<Postmaster>`, which has none, as an address of ours (RFC 5321 §4.5.1)."""
    if path.domain:
        return path
    try:
        return Path(path.local_part, await directory.home(hostname))
    except DirectoryUnavailable as error:
        raise Refusal(DIRECTORY_AWAY) from error


async def tenant_of(directory: Directory, path: Path) -> int:
    """Whose domain this is; asked only of a recipient that `check_recipient` let pass."""
    try:
        return await directory.tenant(path.domain)
    except DirectoryUnavailable as error:
        raise Refusal(DIRECTORY_AWAY) from error


async def check_recipient(directory: Directory, account: Account | None, path: Path) -> None:
    """Raises the refusal to send, or returns: we take it."""
    try:
        kind = await directory.recipient(path.address)
    except DirectoryUnavailable as error:
        raise Refusal(DIRECTORY_AWAY) from error
    if kind is RecipientKind.REMOTE and may_relay(account):
        return
    if kind is RecipientKind.UNKNOWN and is_required(path.address):
        raise Refusal(NOBODY_YET)
    if kind is not RecipientKind.LOCAL:
        raise Refusal(_REPLIES[kind])
