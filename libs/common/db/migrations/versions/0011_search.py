"""The index of SEARCH: documents, how far each mailbox has them, and trigrams over them."""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')

# The usual three triggers of an FTS5 table whose content is in another one; no row is updated.
FTS5 = (
    """CREATE VIRTUAL TABLE search_fts USING fts5(
           head, body, content='search_document', content_rowid='id', detail='none',
           tokenize='trigram case_sensitive 1')""",
    """CREATE TRIGGER search_document_insert AFTER INSERT ON search_document BEGIN
           INSERT INTO search_fts(rowid, head, body) VALUES (new.id, new.head, new.body);
       END""",
    """CREATE TRIGGER search_document_delete AFTER DELETE ON search_document BEGIN
           INSERT INTO search_fts(search_fts, rowid, head, body)
           VALUES ('delete', old.id, old.head, old.body);
       END""",
)
GIN = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    """CREATE INDEX ix_search_document_trigrams ON search_document
        USING gin (account_id, head gin_trgm_ops, body gin_trgm_ops)""",
)


def upgrade() -> None:
    op.create_table('search_document',
    sa.Column('id', Id, autoincrement=True, nullable=False),
    sa.Column('account_id', Id, nullable=False),
    sa.Column('mail_id', sa.Text(), nullable=False),
    sa.Column('opaque', sa.Boolean(), server_default='0', nullable=False),
    sa.Column('head', sa.Text(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'],
                            name=op.f('fk_search_document_account_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['mail_id'], ['message.mail_id'],
                            name=op.f('fk_search_document_mail_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_search_document')),
    sa.UniqueConstraint('account_id', 'mail_id', name=op.f('uq_search_document_account_id_mail_id'))
    )
    op.create_index('ix_search_document_mail_id', 'search_document', ['mail_id'])
    op.create_index('ix_search_document_opaque', 'search_document', ['account_id'],
                    postgresql_where=sa.text('opaque'), sqlite_where=sa.text('opaque'))
    op.create_table('search_progress',
    sa.Column('mailbox_id', Id, nullable=False),
    sa.Column('uid', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['mailbox_id'], ['mailbox.id'],
                            name=op.f('fk_search_progress_mailbox_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('mailbox_id', name=op.f('pk_search_progress'))
    )
    connection = op.get_bind()
    try:
        # Without its extensions (somebody else's server) a search looks through the documents of
        # one account, one by one, which is right as well, and slower.
        with connection.begin_nested():
            for statement in FTS5 if connection.dialect.name == 'sqlite' else GIN:
                connection.execute(sa.text(statement))
    except sa.exc.DBAPIError as error:
        print(f'no trigram index: {error.orig}')


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        op.execute('DROP TABLE IF EXISTS search_fts')
    op.drop_table('search_progress')
    op.drop_table('search_document')
