"""DKIM keys of domains."""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('dkim_key',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('domain_id', Id, nullable=False),
    sa.Column('selector', sa.Text(), nullable=False),
    sa.Column('algorithm', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), server_default='new', nullable=False),
    sa.Column('private_key', sa.LargeBinary(), nullable=False),
    sa.Column('record', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.Column('seen_at', sa.Double(), nullable=True),
    sa.CheckConstraint("state IN ('new','signing','retiring','retired')",
                       name=op.f('ck_dkim_key_state')),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], name=op.f('fk_dkim_key_domain_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dkim_key')),
    sa.UniqueConstraint('domain_id', 'selector', name=op.f('uq_dkim_key_domain_id_selector'))
    )


def downgrade() -> None:
    op.drop_table('dkim_key')
