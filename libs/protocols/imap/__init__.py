"""IMAP's grammar: commands in, responses out; no I/O (RFC 9051, RFC 3501)."""
