"""imap: let clients read, sort and watch their mail.

Any gateway serves any account: everything is read from the rows and, for bodies, by ranges of
the records.  Change notices wake IDLE sessions at once, and every five seconds a gateway
compares the MODSEQ of all its open mailboxes, so a notice that was lost only costs time.

Takes      IMAP with STARTTLS, IMAPS
Reads      account, mailbox, mailbox_message, message; records
Writes     mailbox, mailbox_message, message (APPEND), vanished
Standards  RFC 3501; of its extensions what `extensions.py` lists
Failing    answers NO [UNAVAILABLE]; the client tries again
"""
