"""SCRAM keys are kept behind the hash of the password, so that they change together.

Those of before are dropped: they are made again at the next login with the password.
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
_KEYLESS = sa.text("password_hash != '' AND replace(password_hash, ' SCRAM-', '') = password_hash")


def upgrade() -> None:
    op.drop_table('scram_key')
    op.create_index('ix_account_without_scram', 'account', ['id'],
                    postgresql_where=_KEYLESS, sqlite_where=_KEYLESS)


def downgrade() -> None:
    op.drop_index('ix_account_without_scram', 'account')
    # The release before cannot read what follows the hash.
    if op.get_bind().dialect.name == 'sqlite':
        position = "instr(password_hash, ' SCRAM-')"
    else:
        position = "strpos(password_hash, ' SCRAM-')"
    op.execute(f"UPDATE account SET password_hash = substr(password_hash, 1, {position} - 1)"
               f" WHERE {position} > 0")
    op.create_table('scram_key',
    sa.Column('account_id', Id, nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.Column('password_hash', sa.Text(), nullable=False),
    sa.Column('salt', sa.LargeBinary(), nullable=False),
    sa.Column('iterations', sa.Integer(), nullable=False),
    sa.Column('stored_key', sa.LargeBinary(), nullable=False),
    sa.Column('server_key', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                            name=op.f('fk_scram_key_account_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'hash', name=op.f('pk_scram_key'))
    )
