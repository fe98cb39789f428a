"""Packages that several roles share, in layers: see the contracts in `pyproject.toml`."""
