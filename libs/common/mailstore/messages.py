"""The `message` row: where the content is, and its summary, so that nobody parses it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libs.common.blobstore.protocol import BlobRef
from libs.common.jobs import RecordHeader, Verdict
from libs.protocols.message.summary import Summary


def message_row(
    header: RecordHeader,
    ref: BlobRef,
    size: int,
    sha256: bytes,
    summary: Summary,
    *,
    verdict: Verdict = Verdict.ACCEPT,
    verdict_text: str = "",
    prefix: str = "",
    disguised: Sequence[int] = (),
) -> dict[str, Any]:
    """All columns of a row of `message`."""
    return {
        "mail_id": header.mail_id,
        "tenant_id": header.tenant,
        "origin": header.origin.value,
        "segment": ref.segment,
        "record_offset": ref.offset,
        "record_length": ref.length,
        "size": size,
        "sha256": sha256,
        "received_at": header.received_at,
        "reverse_path": header.envelope.reverse_path,
        "recipients": len(header.envelope.recipients),
        "verdict": verdict.value,
        "verdict_text": verdict_text[:500].replace("\0", ""),
        "prefix": prefix,
        "disguised": " ".join(map(str, disguised)),
        "message_id": summary.message_id,
        "subject": summary.subject,
        "envelope": summary.envelope,
        "bodystructure": summary.bodystructure,
        "body": summary.body,
        "header_size": summary.header_size,
        "sent_at": summary.sent_at,
        "preview": summary.preview,
        "parts": summary.parts,
        "thread_refs": summary.thread_refs,
    }
