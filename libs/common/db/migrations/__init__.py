"""Alembic's migrations, run by `holub migrate` on either dialect.

Each is one that version N-1 and N of the roles can both run on: add first, remove a
version later.
"""
