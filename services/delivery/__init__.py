"""delivery: decide where each recipient's mail goes.

Turns each recipient into accounts (aliases, catch-all) or next-hop domains, writes that down as
the message's plan, and only then hands it on; a job that comes again reuses the plan, so that a
changed alias never splits one message between two answers.  Accounts with an active Sieve script
have it run before the plan, and what it asks for is the plan (docs/adr/0007).

Takes      delivery
Gives      storage, relay
Reads      domain, account, alias, sieve_script; records, where a script looks at them
Writes     plan, deferred (forwards), quarantine and outcome (recipients that are gone), trace;
           effect, outbox, vacation_log, duplicate_log, records (what scripts cause), sieve_script
           (its fault)
Standards  RFC 5321 §3.9 (aliases), §4.4 (Return-Path); RFC 5228 (Sieve), RFC 5230 (vacation); SRS
Failing    leaves jobs on the queue; a batch that fails is bisected to the job that is to blame
"""
