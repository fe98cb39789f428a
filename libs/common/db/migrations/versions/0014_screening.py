"""What domains choose of the checks of strangers, and who came when for the first time."""

import sqlalchemy as sa
from alembic import op

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('greylist',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('first_at', sa.Double(), nullable=False),
    sa.Column('passes', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_greylist'))
    )
    op.create_index(op.f('ix_greylist_expires_at'), 'greylist', ['expires_at'])
    op.add_column('domain', sa.Column('screening', sa.Text(), server_default='', nullable=False))


def downgrade() -> None:
    op.drop_column('domain', 'screening')
    op.drop_index(op.f('ix_greylist_expires_at'), table_name='greylist')
    op.drop_table('greylist')
