"""POP3 without I/O: commands in, replies out (RFC 1939, 2449, 2595, 5034, 6856)."""
