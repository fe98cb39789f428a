"""ETag, If-None-Match and If-Match (RFC 9110 §13.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response

from libs.common.admin.check import Check, etag, matches

IfMatch = Annotated[
    str, Header(max_length=1000, description="Change it only when it still has this ETag.")
]


def _precondition(if_match: IfMatch = "") -> Check:
    return matches(if_match)


Precondition = Annotated[Check, Depends(_precondition)]


def tagged(request: Request, response: Response, item: Mapping[str, Any]) -> Any:
    """The item with its ETag, or 304 when the client has it already.

    What mail itself changes (`used_...`) is not in the ETag, so such items are always sent.
    """
    tag = response.headers["ETag"] = etag(item)
    volatile = any(name.startswith("used_") for name in item)
    wanted = [t.strip() for t in request.headers.get("if-none-match", "").split(",")]
    if not volatile and (tag in wanted or "*" in wanted):
        return Response(status_code=304, headers={"ETag": tag})
    return item
