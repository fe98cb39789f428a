"""`holub backup` and `holub restore`: the database and the blobs, consistent and verified.

A backup is a snapshot of the database, and then every segment.  So each row of the snapshot has
its content, and what was accepted since is in segments that no row knows: after a restore these
messages are put again (`reconcile`).  The queues need no backup, for they are rebuilt in that way.

    FOLDER/backups/<time>/manifest.json     what belongs to it; written last
    FOLDER/backups/<time>/<table>.rows.gz   rows as MessagePack, whichever the dialect
    FOLDER/backups/<time>/segments.gz       key, sizes and SHA-256 of every segment
    FOLDER/mail/...                         the segments, shared by all backups in the folder

Segments never change once they are closed, so a second backup copies the new ones only.
"""
