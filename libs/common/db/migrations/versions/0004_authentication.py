"""App passwords, SCRAM keys, send-as grants, shared limits and blocks."""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def _account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                                   name=op.f(f'fk_{table}_account_id'), ondelete='CASCADE')


def upgrade() -> None:
    op.create_table('app_password',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('account_id', Id, nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('secret_hash', sa.Text(), nullable=False),
    sa.Column('scopes', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('last_used_at', sa.Double(), nullable=True),
    sa.Column('expires_at', sa.Double(), nullable=True),
    _account('app_password'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_app_password')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_app_password_secret_hash')),
    sa.UniqueConstraint('account_id', 'name', name=op.f('uq_app_password_account_id_name'))
    )
    op.create_table('scram_key',
    sa.Column('account_id', Id, nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.Column('password_hash', sa.Text(), nullable=False),
    sa.Column('salt', sa.LargeBinary(), nullable=False),
    sa.Column('iterations', sa.Integer(), nullable=False),
    sa.Column('stored_key', sa.LargeBinary(), nullable=False),
    sa.Column('server_key', sa.LargeBinary(), nullable=False),
    _account('scram_key'),
    sa.PrimaryKeyConstraint('account_id', 'hash', name=op.f('pk_scram_key'))
    )
    op.create_table('secret',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_secret'))
    )
    op.create_table('rate',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('window', sa.BigInteger(), nullable=False),
    sa.Column('hits', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('key', 'window', name=op.f('pk_rate'))
    )
    op.create_index('ix_rate_expires_at', 'rate', ['expires_at'])
    op.create_table('block',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('until', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_block'))
    )
    op.create_index('ix_block_until', 'block', ['until'])


def downgrade() -> None:
    for table in ('block', 'rate', 'secret', 'scram_key', 'app_password'):
        op.drop_table(table)
