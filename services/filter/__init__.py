"""filter: look at a message once, and decide.

Reads the record, makes the summary that IMAP serves from, checks who sent it, asks the scanner
and the spam engines at the same time, and commits the `message` row with the verdict: the first
writer wins, so that two filters never disagree.  Then it tells the ingress that waits, and hands
what is wanted to delivery.

Beside that it goes through delivered mail again when somebody asks for it, or clamd has new
signatures (`rescan`).

Takes      filter; learn (what owners teach by sorting their mail)
Gives      delivery; verdict replies
Reads      records; rescan
Writes     message, quarantine and outcome (what is held), trace, watermark; mailboxes (rescan)
Talks to   clamd (INSTREAM); rspamd (HTTP, `/checkv2`); spamd (SPAMC/1.5); DNS
Standards  RFC 7208, 6376, 8301, 8463, 8617, 8601, 9989 (`libs.common.senderauth`)
Failing    leaves jobs on the queue; while no engine answers, mail waits here or is marked
           (HOLUB_FILTER_UNSCANNED, HOLUB_FILTER_UNSCORED); a damaged record, or one that fails
           again and again, is parked
"""
