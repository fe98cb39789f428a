"""Re-scans of delivered mail, what they found, and the copies that they hold."""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('held_copy',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('mail_id', sa.Text(), nullable=False),
    sa.Column('n', sa.Integer(), nullable=False),
    sa.Column('account_id', Id, nullable=False),
    sa.Column('mailbox', sa.Text(), nullable=False),
    sa.Column('flags', sa.Integer(), nullable=False),
    sa.Column('keywords', sa.Text(), nullable=False),
    sa.Column('internaldate', sa.Double(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('prefix', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['mail_id'], ['message.mail_id'], name=op.f('fk_held_copy_mail_id')),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_held_copy_account_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_held_copy'))
    )
    op.create_index('ix_held_copy_mail_id_n', 'held_copy', ['mail_id', 'n'])
    op.create_table('rescan',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('tenant_id', Id, nullable=True),
    sa.Column('since', sa.Double(), nullable=False),
    sa.Column('until', sa.Double(), nullable=False),
    sa.Column('dry_run', sa.Boolean(), server_default='0', nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), server_default='running', nullable=False),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('cursor', sa.Text(), server_default='', nullable=False),
    *(sa.Column(name, sa.BigInteger(), server_default='0', nullable=False)
      for name in ('total', 'seen', 'junk', 'quarantined', 'back', 'failed')),
    sa.Column('lease_owner', sa.Text(), server_default='', nullable=False),
    sa.Column('lease_until', sa.Double(), server_default='0', nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('changed_at', sa.Double(), nullable=False),
    sa.CheckConstraint("state IN ('running','done','stopped')", name=op.f('ck_rescan_state')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenant.id'], name=op.f('fk_rescan_tenant_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rescan'))
    )
    op.create_index('ix_rescan_tenant_id', 'rescan', ['tenant_id'])
    running = sa.text("state = 'running'")
    op.create_index('ix_rescan_running', 'rescan', ['id'], postgresql_where=running,
                    sqlite_where=running)
    op.create_table('rescan_finding',
    sa.Column('rescan_id', Id, nullable=False),
    sa.Column('mail_id', sa.Text(), nullable=False),
    sa.Column('account_id', Id, nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['rescan_id'], ['rescan.id'],
                            name=op.f('fk_rescan_finding_rescan_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                            name=op.f('fk_rescan_finding_account_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('rescan_id', 'mail_id', 'account_id', name=op.f('pk_rescan_finding'))
    )
    op.create_index('ix_rescan_finding_mail_id', 'rescan_finding', ['mail_id'])


def downgrade() -> None:
    for name in ('rescan_finding', 'rescan', 'held_copy'):
        op.drop_table(name)
