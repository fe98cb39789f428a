"""`python -m tests.bench`: Holub beside Postfix + Dovecot, on one machine, with one load.

What is measured is the way from the first MAIL to the last message that IMAP can show, durable on
both sides; what is read back is compared by SHA-256, or the figures do not count.
"""
