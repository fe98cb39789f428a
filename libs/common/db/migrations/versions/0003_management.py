"""Management: roles and scopes of keys, sessions, audit, idempotency, indexes of the trace."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNUSUAL = sa.text("state IN ('quarantined', 'bounced', 'discarded', 'refused')")


def upgrade() -> None:
    op.add_column("account", _text("role", "account"))
    with op.batch_alter_table("api_key") as batch:
        batch.add_column(sa.Column("account_id", _ID, nullable=True))
        batch.add_column(_text("role", "platform-admin"))
        for name in ("scopes", "domains", "networks", "created_by"):
            batch.add_column(_text(name))
        batch.add_column(sa.Column("last_used_at", sa.Double(), nullable=True))
        batch.create_foreign_key(
            op.f("fk_api_key_account_id"), "account", ["account_id"], ["id"], ondelete="CASCADE"
        )
    _sessions()
    _audit()
    _idempotency()
    _indexes()


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default=default, nullable=False)


def _sessions() -> None:
    op.create_table(
        "session",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], op.f("fk_session_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_session")),
    )
    op.create_index("ix_session_account_id", "session", ["account_id"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("tenant_id", _ID, nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        _text("client"),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        _text("detail", "{}"),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_tenant_id"), "audit", ["tenant_id"])
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"])


def _indexes() -> None:
    op.create_index("ix_message_reverse_path", "message", ["reverse_path", "mail_id"])
    op.create_index("ix_message_subject", "message", [sa.text(_subject())])
    op.create_index(
        "ix_outcome_unusual",
        "outcome",
        ["state", "mail_id"],
        postgresql_where=_UNUSUAL,
        sqlite_where=_UNUSUAL,
    )
    op.drop_index("ix_trace_recipient_at", "trace")
    op.drop_index("ix_trace_at", "trace")
    somebody = sa.text("recipient <> ''")
    op.create_index(
        "ix_trace_recipient",
        "trace",
        ["recipient", "mail_id"],
        postgresql_where=somebody,
        sqlite_where=somebody,
    )
    behind = "substr(recipient, length(rtrim(recipient, replace(recipient, '@', ''))) + 1)"
    op.create_index("ix_quarantine_domain", "quarantine", [sa.text(behind), "created_at"])


def _subject() -> str:
    key = "lower(substr(subject, 1, 80))"
    # PostgreSQL's order is otherwise that of a language, in which a prefix is no range.
    return key if op.get_bind().dialect.name == "sqlite" else f'({key}) COLLATE "C"'
