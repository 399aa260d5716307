"""Writing files so that a final name never holds half a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``, renamed to ``path`` when the block ends without an error.

    The folder is made if it is missing. After an error the temporary file is removed, and what was at ``path``
    before is untouched. The temporary name keeps the extension, since many writers choose the format by it.

    Args:
        path: the final name.

    Yields:
        The temporary name to write to.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{os.getpid()}-{final.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
