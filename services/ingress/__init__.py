"""ingress: take mail from clients by SMTP, submission and LMTP.

Refuses what it should while the client can still hear it, stores the rest, and says 250 only
when the content is durable.  Then it waits a little for the verdict of filter, so that most
of what is unwanted is refused rather than bounced.

Takes      SMTP (MX), submission, submissions, LMTP
Gives      filter jobs; records in the blob store
Reads      domain, account, alias (cached); replies of filter
Writes     outbox (only when the queue is away), outcome (quarantined to refused), trace
Standards  RFC 5321, 1870, 2034, 2920, 3207, 3461, 4954, 6152, 6531; LMTP: RFC 2033
Failing    answers 4yz; what was answered 250 is in a segment and is found by the sweeper
"""
