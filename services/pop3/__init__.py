"""pop3: let clients fetch the mail of their INBOX.

The maildrop is INBOX as it was at the login.  DELE takes effect at QUIT, in one transaction; a
connection that ends without QUIT deletes nothing (RFC 1939 §6).  No lock is taken: messages are
removed by their UIDs, which never mean another message, so sessions side by side do no harm,
and IMAP may be used at the same time (departs from RFC 1939 §4, as most servers do).

Takes      POP3 with STLS, POP3S
Reads      account, mailbox, mailbox_message, message; records
Writes     mailbox, mailbox_message, vanished (at QUIT)
Standards  RFC 1939, 2449, 2595, 3206, 5034 (PLAIN), 6856
Failing    answers -ERR [SYS/TEMP]; the client tries again
"""
