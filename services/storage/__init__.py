"""storage: append messages to mailboxes, and rebuild what a queue lost.

Takes jobs in batches and commits one transaction for many: delivery log, mailbox rows with UID
and MODSEQ, usage, outcomes, trace.  Then it acks, and tells the gateways which mailboxes
changed.  Beside that it runs the sweeper, which puts again what no row accounts for, and the
outbox pump, which puts what could not be put when it came to be.

Takes      storage
Gives      change notices; filter (swept), any queue (outbox)
Reads      message, mailbox, record index of the blob store
Writes     delivery_log, mailbox_message, mailbox, account, outcome, trace, watermark, sweep
Failing    leaves jobs on the queue; a batch that fails is bisected to the job that is to blame
"""
