"""Who sent what waits, and what an administrator wants to become of it."""

import json

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.add_column('deferred', sa.Column('tenant_id', Id, server_default='0', nullable=False))
    for name in ('reverse_path', 'order', 'order_why'):
        op.add_column('deferred', sa.Column(name, sa.Text(), server_default='', nullable=False))
    _fill()
    op.create_index('ix_deferred_tenant_id', 'deferred', ['tenant_id', 'mail_id', 'n'])
    op.create_index('ix_deferred_reverse_path', 'deferred', ['reverse_path'])
    op.create_index('ix_deferred_recipient', 'deferred', ['recipient'])


def _fill() -> None:
    """Tenant and sender of the rows that are there, from their jobs."""
    table = sa.table('deferred', *(sa.column(n) for n in (
        'mail_id', 'n', 'job', 'tenant_id', 'reverse_path')))
    connection, last = op.get_bind(), ('', -1)
    while True:
        query = sa.select(table.c.mail_id, table.c.n, table.c.job)
        query = query.where(sa.tuple_(table.c.mail_id, table.c.n) > sa.tuple_(*last))
        rows = connection.execute(query.order_by(table.c.mail_id, table.c.n).limit(1000)).all()
        for mail_id, n, job in rows:
            header = json.loads(bytes(job))['header']
            change = sa.update(table).where(table.c.mail_id == mail_id, table.c.n == n)
            connection.execute(change.values(
                tenant_id=header.get('tenant', 1),
                reverse_path=header['envelope']['reverse_path']))
        if not rows:
            return
        last = (rows[-1].mail_id, rows[-1].n)


def downgrade() -> None:
    for name in ('recipient', 'reverse_path', 'tenant_id'):
        op.drop_index(f'ix_deferred_{name}', 'deferred')
    for name in ('order_why', 'order', 'reverse_path', 'tenant_id'):
        op.drop_column('deferred', name)
