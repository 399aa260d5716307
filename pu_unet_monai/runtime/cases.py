"""What a folder holds for a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Cases"]

T = TypeVar("T")


@dataclass(frozen=True)
class Cases(Generic[T]):
    """The cases to segment, and what is to be said of the rest.

    Args:
        found: what is needed to segment each case, by its name.
        folders: the folders that the cases lie in, into which no results go.
        problems: what is wrong with cases that cannot even be put together, one line each.
        skipped: names of entries that are no cases.
    """

    found: dict[str, T]
    folders: set[Path]
    problems: list[str]
    skipped: list[str]
