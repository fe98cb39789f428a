"""Mail in files, without I/O: mbox (RFC 4155), the names of Maildir, and their line ends."""
