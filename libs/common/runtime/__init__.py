"""Processes: settings, logging, metrics, health, signals, TLS contexts.  Knows nothing of mail."""
