"""The `holub` command: run roles, administer, and find out where a message is."""
