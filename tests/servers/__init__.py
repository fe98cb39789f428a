"""Real servers that the tests provide themselves: private folders, free loopback ports.

Each is one file and one class with `start`, `stop` and what tests need of it.  `python -m
tests.servers rabbitmq postgres` starts the named ones by hand.
"""
