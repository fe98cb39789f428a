"""SMTP's grammar: paths, parameters, replies, and where content ends (RFC 5321)."""
