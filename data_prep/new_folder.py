"""Making a folder that appears under its name only when everything is in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pu_unet_monai.errors import UserError

__all__ = ["new_folder"]


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``output``, renamed to it when the block ends without an error.

    After an error nothing is left.

    Args:
        output: folder to make; it must not exist, or be empty.

    Yields:
        The temporary folder to write to.

    Raises:
        UserError: if the folder exists and is not empty, or the one above it does not exist.
    """
    output = output.resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output {output}: exists and is not an empty folder; choose another one or remove it")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: the folder {output.parent} does not exist; create it first")
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.mkdir()
        except OSError as error:
            raise UserError(f"--output {output}: cannot be made ({error.strerror or error}); choose another") from error
        yield temporary
        if output.exists():
            output.rmdir()  # empty, as was checked; Windows does not replace a folder
        os.replace(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
