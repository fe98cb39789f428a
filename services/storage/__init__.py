"""storage: append messages to mailboxes, and rebuild what a queue lost.

Takes jobs in batches and commits one transaction for many: delivery log, mailbox rows with UID
and MODSEQ, usage, outcomes, trace.  Then it acks, and tells the gateways which mailboxes
changed.  Beside that it runs the sweeper, which puts again what no row accounts for, the outbox
pump, which puts what could not be put when it came to be, the collector of garbage, which
deletes and compacts segments that nothing needs, and retention, which lets old rows go.

Takes      storage
Gives      change notices; filter (swept), any queue (outbox)
Reads      message, mailbox, record index of the blob store
Writes     delivery_log, mailbox_message, mailbox, account, outcome, trace, watermark, sweep,
           garbage, message (where content lies; rows that nothing needs go), plan and effect (old
           rows go)
Failing    leaves jobs on the queue; a batch that fails is bisected to the job that is to blame
"""
