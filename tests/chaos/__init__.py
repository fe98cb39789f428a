"""Chaos: crashes and restarts under load, and a judge that accounts for every message."""
