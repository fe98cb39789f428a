"""docs/api.md, made from the application: `python -m services.api.document > docs/api.md`."""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute

from libs.common.admin.principal import PERMISSIONS
from services.api.access import permission_of
from services.api.routes import RESOURCES

_HEAD = """# The management API

Made from the code by `make docs`; the OpenAPI description with schemas is at `/openapi.json`, and
to try at `/docs`.

Ask with a key: `curl -H "Authorization: Bearer $HOLUB_API_KEY" http://127.0.0.1:8080/v1/domains`.
The command line is a client of this API; with `HOLUB_API_URL` and `HOLUB_API_KEY` it asks a
server, without them it works on the database itself.

* **Lists** are pages `{"items": [...], "next": CURSOR or null}`; give `next` as `cursor`, and
  `limit` (1 to 1000).
* **Changes** take `If-Match` with the `ETag` that was seen: 412 when somebody was faster.
* **A POST with `Idempotency-Key`** is done once and answered again alike for a day.
* **Errors** are problem details (RFC 9457); `errors` names each field and its rule. Unknown
  fields and parameters are refused.
* **Reach**: what belongs to others is 404, as if it were not there. What the role or scope
  forbids is 403.
* **Audit**: every change, append-only, chained by hash; `GET /v1/audit/verify` checks the chain.
"""


def document() -> str:
    """The whole page."""
    parts = [_HEAD, _roles()]
    for router in RESOURCES:
        lines = [f"## {(router.tags or ['?'])[0]}", ""]
        lines += ["| operation | needs | what it does |", "|---|---|---|"]
        lines += [_operation(route) for route in router.routes if isinstance(route, APIRoute)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _roles() -> str:
    names = sorted(set().union(*PERMISSIONS.values()))
    lines = ["## Roles", "", "| permission | " + " | ".join(PERMISSIONS) + " |"]
    lines.append("|---" * (len(PERMISSIONS) + 1) + "|")
    for name in names:
        has = ("yes" if name in permissions else "" for permissions in PERMISSIONS.values())
        lines.append(f"| `{name}` | " + " | ".join(has) + " |")
    return "\n".join(lines) + "\n"


def _operation(route: Any) -> str:
    (method,) = route.methods
    text = " ".join((route.description or "").split())
    return f"| `{method} /v1{route.path}` | `{permission_of(route)}` | {text} |"


if __name__ == "__main__":
    print(document(), end="")
