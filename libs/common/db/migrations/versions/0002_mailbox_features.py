"""Threads, undelete, annotations and rights of mailboxes."""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    with op.batch_alter_table('message') as batch_op:
        batch_op.add_column(sa.Column('thread_refs', sa.Text(), server_default='', nullable=False))
    op.create_table('recoverable',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('account_id', Id, nullable=False),
    sa.Column('mailbox', sa.Text(), nullable=False),
    sa.Column('uid', sa.BigInteger(), nullable=False),
    sa.Column('mail_id', sa.Text(), nullable=False),
    sa.Column('flags', sa.Integer(), nullable=False),
    sa.Column('keywords', sa.Text(), nullable=False),
    sa.Column('internaldate', sa.Double(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('prefix', sa.Text(), nullable=False),
    sa.Column('expunged_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                            name=op.f('fk_recoverable_account_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['mail_id'], ['message.mail_id'], name=op.f('fk_recoverable_mail_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_recoverable'))
    )
    op.create_index('ix_recoverable_mail_id', 'recoverable', ['mail_id'])
    op.create_index('ix_recoverable_account_id_expunged_at', 'recoverable',
                    ['account_id', 'expunged_at'])
    op.create_index('ix_recoverable_expires_at', 'recoverable', ['expires_at'])
    op.create_table('annotation',
    sa.Column('account_id', Id, nullable=False),
    sa.Column('mailbox_id', Id, nullable=False),
    sa.Column('entry', sa.Text(), nullable=False),
    sa.Column('value', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                            name=op.f('fk_annotation_account_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'mailbox_id', 'entry', name=op.f('pk_annotation'))
    )


def downgrade() -> None:
    op.drop_table('annotation')
    op.drop_table('recoverable')
    with op.batch_alter_table('message') as batch_op:
        batch_op.drop_column('thread_refs')
