"""Garbage collection: what is marked, and which process looks for it."""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('garbage',
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('octets', sa.BigInteger(), nullable=False),
    sa.Column('marked_at', sa.Double(), nullable=False),
    sa.Column('trashed_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('segment', name=op.f('pk_garbage'))
    )
    op.create_table('routine',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('begun_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_routine'))
    )
    op.create_index('ix_effect_child', 'effect', ['child'])


def downgrade() -> None:
    op.drop_index('ix_effect_child', table_name='effect')
    op.drop_table('routine')
    op.drop_table('garbage')
