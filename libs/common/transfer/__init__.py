"""Mail in and out of an account: Maildir, mbox, and accounts of other IMAP servers.

Whatever is broken off can be begun again, and does nothing twice: what comes in is known by a key
that is committed with it, what goes out is looked for where it would go.  Octets are those that
IMAP shows; flags, dates and UIDs go along as far as the format has them.  In memory is one batch,
whatever the size of a mailbox.
"""

from libs.common.transfer.exporter import export
from libs.common.transfer.importer import bring
from libs.common.transfer.letter import Folder, Letter, Progress, TransferError

__all__ = ["Folder", "Letter", "Progress", "TransferError", "bring", "export"]
