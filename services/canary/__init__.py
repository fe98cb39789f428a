"""canary: a message to itself every minute, from outside as a person would send and read it.

Takes nothing from a queue and needs no backend: it logs in at submission, sends, and reads by IMAP.
So it finds what no role can see of itself: that mail as a whole goes through.  Run by
`holub canary`; `--once` for one round, whose result is the exit code.

Gives      metrics: holub_canary_...
Talks to   ingress (submission), imap
Failing    a round that fails is counted; an alert tells when no message came through for long
"""
