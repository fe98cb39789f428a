"""Administration: what API, CLI and console share, so that all three decide alike.

Every function takes a `Principal` (who asks), shows and changes only rows within its reach
(`reach`), and writes what it changes to the audit in the same transaction.
"""
