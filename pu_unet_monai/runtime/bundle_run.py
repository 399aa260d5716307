"""Running a bundle's own commands from a program, with a log on disk and the epochs on the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import make_folder

__all__ = ["run_bundle"]


def run_bundle(
    run_id: str,
    bundle: Path,
    config_files: Sequence[Path],
    options: Mapping[str, Any],
    log: Path,
    title: str,
    environment: Mapping[str, str] | None = None,
    progress: bool = False,
) -> None:
    """Run ``python -m monai.bundle run``; all that it says goes to a log, its epochs also to the screen.

    Args:
        run_id: what to run: ``"training"`` or ``"evaluating"``.
        bundle: the bundle's folder, whose logging configuration and metadata are used.
        config_files: configurations, each of which overrides those before it.
        options: keys to set beyond them, with plain values.
        log: the file to which the output is appended.
        title: what stands before each epoch on the screen.
        environment: environment variables beyond those of this process. Defaults to none.
        progress: whether what it says on standard error, progress bars and what went wrong, goes there and not to the
            log. Defaults to False.

    Raises:
        UserError: if the command fails, with its last line and the log.
    """
    command = [sys.executable, "-m", "monai.bundle", "run", run_id]
    arguments = {
        "config_file": [str(file) for file in config_files],
        "logging_file": bundle / "configs" / "logging.conf",
        "meta_file": bundle / "configs" / "metadata.json",
        "bundle_root": bundle.resolve(),
        **options,
    }
    command += [argument for key, value in arguments.items() for argument in (f"--{key}", str(value))]
    make_folder(log.parent)
    last = ""
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            for last in process.stdout or ():
                file.write(last)
                file.flush()
                if " INFO epoch " in last:
                    print(f"{title}: {last.partition(' INFO ')[2].strip()}", flush=True)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        what = "see what it said above" if progress else last.strip()
        raise UserError(f"{log}: {run_id} ended with exit code {process.returncode}: {what}")
