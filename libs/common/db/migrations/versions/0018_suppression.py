"""Recipients that take no mail, by tenant."""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('suppression',
    sa.Column('tenant_id', Id, nullable=False),
    sa.Column('address', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('detail', sa.Text(), server_default='', nullable=False),
    sa.Column('bounces', sa.Integer(), server_default='0', nullable=False),
    sa.Column('last_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'address', name=op.f('pk_suppression'))
    )
    op.create_index('ix_suppression_expires_at', 'suppression', ['expires_at'])


def downgrade() -> None:
    op.drop_index('ix_suppression_expires_at', 'suppression')
    op.drop_table('suppression')
