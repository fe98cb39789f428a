"""Alembic's environment: the connection is handed in by `migrate.py`."""

from alembic import context

from libs.common.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
