"""The database: an engine, transactions, set-based inserts, the tables and their migrations.

SQLAlchemy Core over SQLite (WAL, synchronous FULL) or PostgreSQL (asyncpg), picked by URL scheme.
"""

from libs.common.db.database import Database, DatabaseUnavailable, Transaction, open_database

__all__ = ["Database", "DatabaseUnavailable", "Transaction", "open_database"]
