"""Writing files so that a final name never holds half a file."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pu_unet_monai.errors import UserError

__all__ = [
    "ANY_NAME",
    "atomic_path",
    "file_sha256",
    "make_folder",
    "read_csv",
    "read_json",
    "temporary_folder",
    "write_csv",
    "write_json",
]

ANY_NAME = "backslashreplace"
"""How text files are written that hold names of files, which need not be text: a byte that is none as an escape."""

_LOCK = ".lock"


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if it is missing.

    Args:
        path: the folder.

    Raises:
        UserError: if it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be a folder ({error.strerror or error}); choose another one.") from error


def read_json(path: Path, mend: str = "remove it to have it made again") -> dict[str, Any]:
    """Read a file that this package wrote.

    Args:
        path: the file, which holds a JSON object.
        mend: what to do if it is damaged. Defaults to removing it.

    Raises:
        UserError: if it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, expected a JSON object")
        return content
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {mend}.") from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``, renamed to ``path`` when the block ends without an error.

    The folder is made if it is missing. After an error the temporary file is removed, and what was at ``path``
    before is untouched. The temporary name keeps the extension, since many writers choose the format by it.

    Args:
        path: the final name.

    Yields:
        The temporary name to write to.

    Raises:
        UserError: if the folder cannot be made or the file not be written (no permission, disk full).
    """
    final = Path(path)
    make_folder(final.parent)
    temporary = final.with_name(f".{os.getpid()}-{final.name}")
    try:
        yield temporary
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        os.replace(temporary, final)
    except OSError as error:
        raise UserError(f"{final}: could not be written ({error.strerror or error}); choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that is removed when the block ends, and remove those that killed programs left.

    Such a folder is in use as long as a lock beside it is held, which ends with its program in whatever way that ends.

    Args:
        parent: where to make it.
        prefix: how its name begins, which is that of nothing else; a dot hides it.

    Yields:
        The folder.
    """
    for leftover in parent.glob(f"{prefix}*{_LOCK}"):
        with contextlib.suppress(Timeout, OSError), FileLock(leftover, timeout=0):
            _remove_with_lock(leftover)
    lock = parent / f"{prefix}{uuid.uuid4().hex}{_LOCK}"
    with FileLock(lock, mode=0o600):
        folder = lock.with_suffix("")
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            _remove_with_lock(lock)


def _remove_with_lock(lock: Path) -> None:
    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    lock.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        UserError: as :func:`atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a line of column names."""
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before the first column
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write a CSV file, whole or not at all.

    Args:
        path: the final name.
        rows: cells by column; what a row lacks is left empty.
        columns: those that come first. Defaults to the order in which the rows name them.

    Raises:
        UserError: as :func:`atomic_path`.
    """
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors=ANY_NAME) as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
