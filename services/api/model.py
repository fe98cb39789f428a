"""What bodies have in common: unknown fields are refused, texts can be stored."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from fastapi.params import Path
from pydantic import BaseModel, ConfigDict, model_validator

T = TypeVar("T")
MOST_OCTETS = 2**62


class Strict(BaseModel):
    """The base of request bodies."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for name, value in data.items():
                _check(str(name), value)
        return data


def _check(name: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check(name, item)
    elif isinstance(value, str) and ("\0" in value or not _encodable(value)):
        raise ValueError(f"{name} has a NUL or half a character, which cannot be stored")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None
    """Give it as `cursor` for the next page; null: this was the last one."""


Cursor = Annotated[str, Query(max_length=2000, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items in a page.")]
Search = Annotated[str, Query(max_length=320, description="Text that the name contains.")]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Name = Annotated[str, Path(min_length=1, max_length=320, pattern=r"^[^\x00-\x1f\x7f]+$")]


def paged(found: tuple[list[dict[str, Any]], str | None]) -> dict[str, Any]:
    """The answer of a list."""
    return {"items": found[0], "next": found[1]}
