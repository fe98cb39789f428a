"""How an engine can fail: the message waits for one that is away, and for no other reason."""


class Unavailable(Exception):
    """No daemon answers; the content has nothing to do with it."""


class EngineFailed(Exception):
    """The daemon is well, but says that it cannot do this."""
