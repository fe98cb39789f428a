"""What is asked of strangers before DATA, on the MX listener alone.

Who logged in, our own relays (LMTP) and addresses in `HOLUB_MX_EXEMPT_NETWORKS` are never asked.

Two kinds of rules, each a file:

* Those that protect this host refuse for everybody: `connections` (how many at once), `rates` (how
  many in a time), `tarpit`.
* Those that judge the client (`early_talk` and `pipelining`, `dnsbl`, `iprev`, `helo`, `greylist`)
  run while the session goes on.  Each yields a `Finding`; at RCPT the mode in force for the
  recipient's domain says whether it refuses.  What was found stands as `rule=outcome` in the
  record and the trace.

DNS that does not answer refuses nobody, nor does a database that is away; and postmaster and
abuse hear everybody, or nobody could tell us that a rule is wrong.
"""
