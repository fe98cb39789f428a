"""relay: hand mail to other hosts.

Takes one message for its recipients in one domain and speaks SMTP to the next hop.  Then for each
recipient: 2yz, relayed; 4yz or no answer, deferred, and tried again as `schedule` says; 5yz or too
old, bounced, and a DSN goes to the reverse-path if an account of ours sent the message, else
the recipient is quarantined (a bounce might go to somebody who never wrote: I9).  A DSN also
tells, once, of what still waits after some hours, and of success when the sender asked and the
next hop does not report it.

Before an attempt its recipients are rows of `deferred` with a lease and an attempt number.  The
job is acked as soon as these are committed: from there the rows are the queue, and whoever finds
a lease that ended goes on.  Right before the final dot, and with the result, the attempt number
is checked, so that an attempt that slept too long neither sends nor records.

Each destination has its own number of attempts at a time, which grows with its answers and shrinks
with its refusals; one that is slow, or does not answer, has a lane of its own (`lanes`), and is
left alone for a while.  What accounts send is signed with DKIM for the octets that each host gets.

Takes      relay
Gives      filter (DSNs, through the outbox)
Reads      records, dkim_key
Writes     deferred, outcome, quarantine, effect, outbox, trace, dkim_key, watermark; records of
           DSNs
Talks to   next hops of HOLUB_RELAY_ROUTES and HOLUB_RELAY_NEXT_HOP; or the hosts that MX records
           name, with TLS as HOLUB_RELAY_TLS and signed TLSA records have it
Standards  RFC 5321, 2920, 3207, 3461, 3464, 4954, 6152, 6376, 6531, 7505, 7672, 8689
Failing    leaves rows that come due again; a crash between dot and record sends a second copy
"""
