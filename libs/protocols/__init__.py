"""What the mail standards say, without I/O: bytes in, values and bytes out."""
