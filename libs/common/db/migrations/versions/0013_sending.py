"""Send-as grants, and how much a tenant may send."""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('send_as',
    sa.Column('account_id', Id, nullable=False),
    sa.Column('address', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_send_as_account_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'address', name=op.f('pk_send_as'))
    )
    for name in ('messages_per_hour', 'recipients_per_day'):
        op.add_column('tenant', sa.Column(name, sa.BigInteger(), server_default='0',
                                          nullable=False))


def downgrade() -> None:
    for name in ('recipients_per_day', 'messages_per_hour'):
        op.drop_column('tenant', name)
    op.drop_table('send_as')
