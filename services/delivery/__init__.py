"""delivery: decide where each recipient's mail goes.

Turns each recipient into accounts (aliases, catch-all) or next-hop domains, writes that down as
the message's plan, and only then hands it on; a job that comes again reuses the plan, so that a
changed alias never splits one message between two answers.

Takes      delivery
Gives      storage, relay
Reads      domain, account, alias
Writes     plan, deferred (forwards), quarantine and outcome (recipients that are gone), trace
Standards  RFC 5321 §3.9 (aliases), §4.4 (Return-Path)
Failing    leaves jobs on the queue; a batch that fails is bisected to the job that is to blame
"""
