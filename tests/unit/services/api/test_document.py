from __future__ import annotations

from pathlib import Path

from services.api.document import document


def test_the_page_about_the_api_is_that_of_the_code() -> None:
    """Write it anew with: make docs."""
    page = Path(__file__).parents[4] / "docs" / "api.md"

    assert page.read_text() == document()
