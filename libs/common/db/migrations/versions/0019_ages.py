"""How old rows of the ledger are, for retention: the ids of children do not tell."""

from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

_TIMES = (('plan', 'created_at'), ('delivery_log', 'delivered_at'), ('effect', 'at'))


def upgrade() -> None:
    for table, column in _TIMES:
        op.create_index(f'ix_{table}_{column}', table, [column])


def downgrade() -> None:
    for table, column in _TIMES:
        op.drop_index(f'ix_{table}_{column}', table)
