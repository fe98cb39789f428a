"""What the API answered instead of success."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """What the API answered instead of success, in one line for each field."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        errors = problem.get("errors") or []
        lines = [f"{item['field']}: {item['rule']}" for item in errors]
        super().__init__("\n".join(lines) or problem.get("detail") or f"HTTP {status}")
        self.status = status
