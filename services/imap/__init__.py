"""imap: let clients read, sort and watch their mail.

Any gateway serves any account: everything is read from the rows and, for bodies, by ranges of
the records.  Change notices wake IDLE sessions at once, and every five seconds a gateway
compares the MODSEQ of all its open mailboxes, so a notice that was lost only costs time.

All sessions of the process share one view of each mailbox, and ENVELOPEs that were asked for
once stay in memory, so that FETCH of a whole mailbox is made of what is here.

RECENT is always 0: no session is told which messages it saw first, as in IMAP4rev2 (RFC 9051,
appendix E).  An APPEND goes to a spool as it comes and a body is read in blocks as it goes out, so
neither sits in memory.  When we stop, commands under way are finished, then everybody hears BYE.

Takes      IMAP with STARTTLS, IMAPS
Reads      account, mailbox, mailbox_message, message; records
Writes     mailbox, mailbox_message, message (APPEND), vanished
Standards  RFC 9051, RFC 3501, and of their extensions what `extensions.py` lists
Failing    answers NO [UNAVAILABLE]; the client tries again
"""
