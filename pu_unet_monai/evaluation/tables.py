"""Results as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.files import ANY_NAME, atomic_path, write_json

__all__ = ["markdown_table", "write_results"]


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join("| " + " | ".join(map(_escaped, cells)) + " |" for cells in lines)


def _escaped(cell: str) -> str:
    """Return the text of a cell in one line, in which no bar ends it."""
    return " ".join(cell.split("\n")).replace("|", "\\|")


def write_results(results: Mapping[str, Any], text: str, stem: Path) -> None:
    """Write ``<stem>.json`` and ``<stem>.md``."""
    write_json(stem.with_suffix(".json"), results)
    with atomic_path(stem.with_suffix(".md")) as path:
        path.write_text(text + "\n", encoding="utf-8", errors=ANY_NAME)
