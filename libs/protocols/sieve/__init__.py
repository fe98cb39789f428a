"""Sieve without I/O: a script and a message in, actions out (RFC 5228 and extensions)."""
