"""The tables, as SQLAlchemy Core, for SQLite and PostgreSQL alike.

Names follow the glossary.  `mail_id` is the canonical text of a UUIDv7, times are seconds since
the epoch (double), so that both dialects store and compare them alike.  Alembic's
migrations are the truth for a running system; a test compares them with this file.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a rowid only to INTEGER PRIMARY KEY; PostgreSQL gets a BIGINT identity.
Id = BigInteger().with_variant(Integer, "sqlite")


def subject_key(subject: Any) -> Any:
    """What subjects are sought by: lower case, 80 characters, compared by code point."""
    return func.lower(func.substr(subject, literal_column("1"), literal_column("80")))


def domain_part(address: Any) -> Any:
    """The part of an address behind its last `@`, in SQL that both dialects know."""
    at: Any = literal_column("'@'")
    up_to = func.length(func.rtrim(address, func.replace(address, at, literal_column("''"))))
    return func.substr(address, up_to + literal_column("1"))


def without_scram(password_hash: Any) -> Any:
    """Is there a password, and no SCRAM keys behind its hash?  In SQL that both dialects know."""
    key: Any = literal_column("' SCRAM-'")
    nothing: Any = literal_column("''")
    return (password_hash != nothing) & (func.replace(password_hash, key, nothing) == password_hash)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


tenant = Table(
    "tenant",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    # What its accounts together may send by submission; 0 means no limit.
    Column("messages_per_hour", BigInteger, nullable=False, server_default="0"),
    Column("recipients_per_day", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
)

domain = Table(
    "domain",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False, index=True),
    Column("name", Text, nullable=False, unique=True),
    Column("catch_all", Text, nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default="1"),
    Column("created_at", Double, nullable=False),
    # What it chose of the checks of strangers: `dnsbl=note,greylist=refuse`.
    Column("screening", Text, nullable=False, server_default=""),
)

dkim_key = Table(
    "dkim_key",
    metadata,
    _id(),
    Column("domain_id", Id, ForeignKey("domain.id", ondelete="CASCADE"), nullable=False),
    Column("selector", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    # new (to be published), signing, retiring (published, signs no more), retired.
    Column("state", Text, nullable=False, server_default="new"),
    # PKCS #8, sealed (libs.common.runtime.sealer); empty once it is retired.
    Column("private_key", LargeBinary, nullable=False),
    Column("record", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    # Since when DNS has it; NULL: not seen yet.
    Column("seen_at", Double, nullable=True),
    UniqueConstraint("domain_id", "selector"),
    CheckConstraint("state IN ('new','signing','retiring','retired')", name="state"),
)

account = Table(
    "account",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False, index=True),
    Column("domain_id", Id, ForeignKey("domain.id"), nullable=False, index=True),
    Column("address", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, server_default=""),
    # The hash, a space, and the SCRAM keys of the same password (libs.common.accounts.credential).
    Column("password_hash", Text, nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default="1"),
    # What the account may do in the management API (libs.common.admin.principal).
    Column("role", Text, nullable=False, server_default="account"),
    # 0 means no limit; octets are those of the content plus the prefix, as IMAP shows them.
    Column("quota_octets", BigInteger, nullable=False, server_default="0"),
    Column("quota_messages", BigInteger, nullable=False, server_default="0"),
    Column("used_octets", BigInteger, nullable=False, server_default="0"),
    Column("used_messages", BigInteger, nullable=False, server_default="0"),
    # UIDVALIDITY of the next mailbox: never given twice in one account (RFC 9051 §2.3.1.1).
    Column("next_uidvalidity", BigInteger, nullable=False, server_default="1"),
    # Empty: no Sieve script is active.  Else a word that changes with every change of the
    # account's scripts, so that compiled ones can be kept (libs.common.scripts).
    Column("scripts", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
)

Index(
    "ix_account_without_scram",
    account.c.id,
    postgresql_where=without_scram(account.c.password_hash),
    sqlite_where=without_scram(account.c.password_hash),
)

sieve_script = Table(
    "sieve_script",
    metadata,
    _id(),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("active", Boolean, nullable=False, server_default="0"),
    # Why it broke off first since it was put; its owner was told of that, and is told once.
    Column("fault", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    UniqueConstraint("account_id", "name"),
)
# One active script for each account (RFC 5804 §1.4).
Index(
    "uq_sieve_script_active",
    sieve_script.c.account_id,
    unique=True,
    postgresql_where=sieve_script.c.active,
    sqlite_where=sieve_script.c.active,
)

vacation_log = Table(
    "vacation_log",
    metadata,
    # Whom a vacation answered, and until when he is not answered again (RFC 5230 §4.2).
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("handle", Text, primary_key=True),
    Column("until", Double, nullable=False),
)

duplicate_log = Table(
    "duplicate_log",
    metadata,
    # Ids (hashed, with their handle) that `duplicate` has seen, and until when they count.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("until", Double, nullable=False),
)

alias = Table(
    "alias",
    metadata,
    _id(),
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=False, index=True),
    Column("domain_id", Id, ForeignKey("domain.id"), nullable=False, index=True),
    Column("address", Text, nullable=False, index=True),
    Column("target", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("address", "target"),
)

send_as = Table(
    "send_as",
    metadata,
    # What an account may send as besides its own addresses: one address, or `*@DOMAIN`.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("created_at", Double, nullable=False),
)

app_password = Table(
    "app_password",
    metadata,
    _id(),
    # Made by us with 130 random bits, so a plain hash cannot be guessed back.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),
    # Space-joined roles that take it: smtp imap pop3 sieve.
    Column("scopes", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=True),
    Column("expires_at", Double, nullable=True),
    UniqueConstraint("account_id", "name"),
)

secret = Table(
    "secret",
    metadata,
    # Random octets that all replicas share, made by whoever needs them first.
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

rate = Table(
    "rate",
    metadata,
    # What all replicas together have counted (libs.common.limits).
    Column("key", Text, primary_key=True),
    Column("window", BigInteger, primary_key=True),
    Column("hits", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_rate_expires_at", rate.c.expires_at)

greylist = Table(
    "greylist",
    metadata,
    # Who came when for the first time, and how often again (services.ingress.screen.greylist).
    Column("key", Text, primary_key=True),
    Column("first_at", Double, nullable=False),
    Column("passes", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_greylist_expires_at", greylist.c.expires_at)

block = Table(
    "block",
    metadata,
    # Who may do nothing for a while.
    Column("key", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("until", Double, nullable=False),
)
Index("ix_block_until", block.c.until)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    # NULL: the whole platform.
    Column("tenant_id", Id, ForeignKey("tenant.id"), nullable=True, index=True),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=True),
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False, server_default="platform-admin"),
    # Space-joined: permissions (none: all of the role), domains, networks (none: any address).
    Column("scopes", Text, nullable=False, server_default=""),
    Column("domains", Text, nullable=False, server_default=""),
    Column("networks", Text, nullable=False, server_default=""),
    Column("created_by", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=True),
    Column("expires_at", Double, nullable=True),
    Column("revoked_at", Double, nullable=True),
)

session = Table(
    "session",
    metadata,
    # People at the console; the token itself is only in their cookie.
    Column("token_hash", Text, primary_key=True),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_session_account_id", session.c.account_id)

audit = Table(
    "audit",
    metadata,
    _id(),
    # Append-only: triggers refuse UPDATE and DELETE, and `hash` covers the row and `previous`.
    Column("at", Double, nullable=False),
    Column("tenant_id", Id, nullable=True, index=True),
    Column("actor", Text, nullable=False),
    Column("client", Text, nullable=False, server_default=""),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default="{}"),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    # What was answered to a request with this Idempotency-Key; the answer is encrypted with it.
    Column("key_hash", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer, nullable=False, server_default="0"),
    Column("answer", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_idempotency_expires_at", idempotency.c.expires_at)

message = Table(
    "message",
    metadata,
    # One row for each content; filter writes it together with its verdict, and the first writer
    # wins, so two filters can never disagree on one message.
    Column("mail_id", Text, primary_key=True),
    Column("tenant_id", Id, nullable=False),
    Column("origin", Text, nullable=False),
    Column("segment", Text, nullable=False),
    Column("record_offset", BigInteger, nullable=False),
    Column("record_length", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("reverse_path", Text, nullable=False, server_default=""),
    Column("recipients", Integer, nullable=False, server_default="0"),
    Column("verdict", Text, nullable=False, server_default="accept"),
    Column("verdict_text", Text, nullable=False, server_default=""),
    # Trace fields that filter adds, each ended by CRLF.
    Column("prefix", Text, nullable=False, server_default=""),
    # Offsets in the content of names that are shown otherwise (libs.protocols.message.disguise).
    Column("disguised", Text, nullable=False, server_default=""),
    # The summary (libs.protocols.message.summary), so that IMAP never parses MIME.
    Column("message_id", Text, nullable=False, server_default=""),
    Column("subject", Text, nullable=False, server_default=""),
    Column("envelope", LargeBinary, nullable=False),
    Column("bodystructure", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("header_size", BigInteger, nullable=False, server_default="0"),
    Column("sent_at", Double, nullable=True),
    Column("preview", Text, nullable=False, server_default=""),
    # JSON: the MIME parts with their octet offsets in the content.
    Column("parts", LargeBinary, nullable=False),
    # Message-IDs that it refers to, the oldest first, separated by spaces (RFC 5256 §3).
    Column("thread_refs", Text, nullable=False, server_default=""),
)
Index("ix_message_message_id", message.c.message_id)
Index("ix_message_segment", message.c.segment)
Index("ix_message_received_at", message.c.received_at)
# For the trace: by sender, newest first, and by the beginning of the subject.
Index("ix_message_reverse_path", message.c.reverse_path, message.c.mail_id)
Index("ix_message_subject", subject_key(message.c.subject))

mailbox = Table(
    "mailbox",
    metadata,
    _id(),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False, server_default="1"),
    Column("highestmodseq", BigInteger, nullable=False, server_default="1"),
    Column("messages", BigInteger, nullable=False, server_default="0"),
    Column("unseen", BigInteger, nullable=False, server_default="0"),
    Column("octets", BigInteger, nullable=False, server_default="0"),
    Column("special_use", Text, nullable=False, server_default=""),
    Column("subscribed", Boolean, nullable=False, server_default="1"),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("account_id", "name"),
)

mailbox_message = Table(
    "mailbox_message",
    metadata,
    Column("mailbox_id", Id, ForeignKey("mailbox.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("mail_id", Text, ForeignKey("message.mail_id"), nullable=False, index=True),
    # System flags as a bit set (libs.common.mailstore.flags); keywords sorted, space-joined.
    Column("flags", Integer, nullable=False, server_default="0"),
    Column("keywords", Text, nullable=False, server_default=""),
    Column("modseq", BigInteger, nullable=False),
    Column("internaldate", Double, nullable=False),
    Column("savedate", Double, nullable=False),
    # Octets that IMAP shows: prefix and content.
    Column("size", BigInteger, nullable=False),
    Column("prefix", Text, nullable=False, server_default=""),
)
Index(
    "ix_mailbox_message_mailbox_id_modseq", mailbox_message.c.mailbox_id, mailbox_message.c.modseq
)

vanished = Table(
    "vanished",
    metadata,
    # QRESYNC: which UIDs left a mailbox, and when (RFC 7162 §3.2.10).
    Column("mailbox_id", Id, ForeignKey("mailbox.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("modseq", BigInteger, nullable=False),
)
Index("ix_vanished_mailbox_id_modseq", vanished.c.mailbox_id, vanished.c.modseq)

recoverable = Table(
    "recoverable",
    metadata,
    _id(),
    # What was expunged, or went with its mailbox, and can be had back until `expires_at`.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("mailbox", Text, nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("mail_id", Text, ForeignKey("message.mail_id"), nullable=False, index=True),
    Column("flags", Integer, nullable=False),
    Column("keywords", Text, nullable=False),
    Column("internaldate", Double, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("expunged_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_recoverable_account_id_expunged_at", recoverable.c.account_id, recoverable.c.expunged_at)
Index("ix_recoverable_expires_at", recoverable.c.expires_at)

imported = Table(
    "imported",
    metadata,
    # What was brought in from elsewhere (libs.common.transfer): a hash of what names it there.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
)

annotation = Table(
    "annotation",
    metadata,
    # METADATA (RFC 5464); mailbox_id 0 is the account itself, whatever its mailboxes.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("mailbox_id", Id, primary_key=True),
    Column("entry", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

search_document = Table(
    "search_document",
    metadata,
    _id(),
    # What SEARCH BODY and TEXT look in, case folded, made off the hot path (mailstore.indexing).
    # One for each account, so that no search goes through the mail of others; the migration adds
    # an index over trigrams: GIN in PostgreSQL, FTS5 in SQLite.
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column(
        "mail_id",
        Text,
        ForeignKey("message.mail_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Too large or too odd to be kept: SEARCH reads the message itself.
    Column("opaque", Boolean, nullable=False, server_default="0"),
    Column("head", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("account_id", "mail_id"),
)
Index(
    "ix_search_document_opaque",
    search_document.c.account_id,
    postgresql_where=search_document.c.opaque,
    sqlite_where=search_document.c.opaque,
)

search_progress = Table(
    "search_progress",
    metadata,
    # All messages of a mailbox up to this UID have their documents.
    Column("mailbox_id", Id, ForeignKey("mailbox.id", ondelete="CASCADE"), primary_key=True),
    Column("uid", BigInteger, nullable=False),
)

delivery_log = Table(
    "delivery_log",
    metadata,
    # Decides that one 250 gives one copy; kept apart from the mailbox, because an expunged message
    # must not be delivered again.
    Column("mail_id", Text, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("delivered_at", Double, nullable=False),
)
# For retention, as those of plan and effect.
Index("ix_delivery_log_delivered_at", delivery_log.c.delivered_at)

plan = Table(
    "plan",
    metadata,
    # What delivery decided, before it fans out; a redelivered job reuses it (rule 3).
    Column("mail_id", Text, primary_key=True),
    Column("targets", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
)
Index("ix_plan_created_at", plan.c.created_at)

outcome = Table(
    "outcome",
    metadata,
    # The terminal state of each (mail_id, recipient): the ledger.
    Column("mail_id", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("at", Double, nullable=False),
    CheckConstraint(
        "state IN ('delivered','relayed','forwarded','quarantined','bounced','discarded',"
        "'refused')",
        name="state",
    ),
)
# The few that did not end well, for the trace by state.
_UNUSUAL = outcome.c.state.in_(["quarantined", "bounced", "discarded", "refused"])
Index(
    "ix_outcome_unusual",
    outcome.c.state,
    outcome.c.mail_id,
    postgresql_where=_UNUSUAL,
    sqlite_where=_UNUSUAL,
)

deferred = Table(
    "deferred",
    metadata,
    # What is due later: recipients waiting for a next attempt, with a fenced lease (rule 7).
    Column("mail_id", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", Double, nullable=False),
    Column("lease_owner", Text, nullable=False, server_default=""),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("last_reply", Text, nullable=False, server_default=""),
    # The RelayJob of this message and domain, as JSON.
    Column("job", LargeBinary, nullable=False),
    # 0 and "": a row of an older version, which only the platform's administrator sees.
    Column("tenant_id", Id, nullable=False, server_default="0"),
    Column("reverse_path", Text, nullable=False, server_default=""),
    # What an administrator wants: nothing, hold (next_attempt_at is HELD), bounce (with why).
    Column("order", Text, nullable=False, server_default=""),
    Column("order_why", Text, nullable=False, server_default=""),
)
HELD = 253402300799.0
"""The next attempt of what is held: never, and behind all others in the index."""
Index("ix_deferred_tenant_id", deferred.c.tenant_id, deferred.c.mail_id, deferred.c.n)
Index("ix_deferred_reverse_path", deferred.c.reverse_path)
Index("ix_deferred_recipient", deferred.c.recipient)
Index("ix_deferred_next_attempt_at", deferred.c.next_attempt_at)
Index("ix_deferred_domain", deferred.c.domain)

suppression = Table(
    "suppression",
    metadata,
    # Recipients that take no mail: nobody of the tenant sends to them any more, for a while.
    # No foreign key: the result of an attempt must not fail because its tenant is gone.
    Column("tenant_id", Id, primary_key=True),
    # In small letters.
    Column("address", Text, primary_key=True),
    # `manual`, or the class of the last refusal (libs.protocols.smtp.refusal_class).
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    # Refusals for good since the row was made.
    Column("bounces", Integer, nullable=False, server_default="0"),
    Column("last_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)
Index("ix_suppression_expires_at", suppression.c.expires_at)

parked = Table(
    "parked",
    metadata,
    _id(),
    # Held for an operator, with an alert: jobs that cannot be done and must not be lost.
    Column("queue", Text, nullable=False),
    Column("mail_id", Text, nullable=False, server_default="", index=True),
    Column("body", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("parked_at", Double, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    # Jobs to be put as soon as the queue takes them; the key makes an effect happen once.
    Column("key", Text, nullable=False, unique=True),
    Column("queue", Text, nullable=False),
    Column("mail_id", Text, nullable=False, server_default="", index=True),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
)

effect = Table(
    "effect",
    metadata,
    # At most one DSN, vacation, redirect, ... for each (mail_id, n, kind), as long as a job can
    # come again (I2 d; services.storage.retention).
    Column("mail_id", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("child", Text, nullable=False),
    Column("at", Double, nullable=False),
)
Index("ix_effect_child", effect.c.child)
Index("ix_effect_at", effect.c.at)

quarantine = Table(
    "quarantine",
    metadata,
    Column("mail_id", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("tenant_id", Id, nullable=False, index=True),
    Column("recipient", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="held"),
    Column("created_at", Double, nullable=False),
)
Index("ix_quarantine_domain", domain_part(quarantine.c.recipient), quarantine.c.created_at)

held_copy = Table(
    "held_copy",
    metadata,
    _id(),
    # Where a delivered message was in an account's mailboxes, and with which flags, before a
    # re-scan took it into quarantine for its recipient `n`; a release puts it back just there.
    Column("mail_id", Text, ForeignKey("message.mail_id"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("mailbox", Text, nullable=False),
    Column("flags", Integer, nullable=False),
    Column("keywords", Text, nullable=False),
    Column("internaldate", Double, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("prefix", Text, nullable=False),
)
Index("ix_held_copy_mail_id_n", held_copy.c.mail_id, held_copy.c.n)

rescan = Table(
    "rescan",
    metadata,
    # Delivered mail that is checked again: what is asked for, how far it is, what came of it.
    _id(),
    # NULL: the accounts of all tenants.
    Column("tenant_id", Id, ForeignKey("tenant.id", ondelete="CASCADE"), nullable=True, index=True),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("dry_run", Boolean, nullable=False, server_default="0"),
    # By whom, or because of which change of signatures.
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="running"),
    Column("note", Text, nullable=False, server_default=""),
    # The last mail_id that is done with; committed together with what was moved.
    Column("cursor", Text, nullable=False, server_default=""),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("seen", BigInteger, nullable=False, server_default="0"),
    Column("junk", BigInteger, nullable=False, server_default="0"),
    Column("quarantined", BigInteger, nullable=False, server_default="0"),
    Column("back", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", Text, nullable=False, server_default=""),
    Column("lease_until", Double, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    CheckConstraint("state IN ('running','done','stopped')", name="state"),
)
Index(
    "ix_rescan_running",
    rescan.c.id,
    postgresql_where=rescan.c.state == "running",
    sqlite_where=rescan.c.state == "running",
)

rescan_finding = Table(
    "rescan_finding",
    metadata,
    # What a re-scan moved, or (dry run) would move: junk, quarantined, back.
    Column("rescan_id", Id, ForeignKey("rescan.id", ondelete="CASCADE"), primary_key=True),
    Column("mail_id", Text, primary_key=True),
    Column("account_id", Id, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)
Index("ix_rescan_finding_mail_id", rescan_finding.c.mail_id)

watermark = Table(
    "watermark",
    metadata,
    # The newest `received_at` that consumers of a queue have taken (rule 2).
    Column("queue", Text, primary_key=True),
    Column("received_at", Double, nullable=False),
)

sweep = Table(
    "sweep",
    metadata,
    # At most one republish for each message and hour.
    Column("mail_id", Text, primary_key=True),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("swept_at", Double, nullable=False),
)

garbage = Table(
    "garbage",
    metadata,
    # Segments that nothing needs: marked, then in the trash, then gone (libs.common.garbage).
    Column("segment", Text, primary_key=True),
    Column("octets", BigInteger, nullable=False),
    Column("marked_at", Double, nullable=False),
    Column("trashed_at", Double, nullable=True),
)

routine = Table(
    "routine",
    metadata,
    # Work that one process of all does from time to time, and when it was last begun.
    Column("name", Text, primary_key=True),
    Column("begun_at", Double, nullable=False),
)

trace = Table(
    "trace",
    metadata,
    _id(),
    Column("mail_id", Text, nullable=False),
    # -1: the whole message.
    Column("n", Integer, nullable=False, server_default="-1"),
    Column("at", Double, nullable=False),
    Column("stage", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("recipient", Text, nullable=False, server_default=""),
    Column("why", Text, nullable=False, server_default=""),
    Column("took", Double, nullable=False, server_default="0"),
)
Index("ix_trace_mail_id", trace.c.mail_id)
# A mail_id begins with its time, so this order is that of time.
_TO_SOMEBODY = trace.c.recipient != ""
Index(
    "ix_trace_recipient",
    trace.c.recipient,
    trace.c.mail_id,
    postgresql_where=_TO_SOMEBODY,
    sqlite_where=_TO_SOMEBODY,
)
