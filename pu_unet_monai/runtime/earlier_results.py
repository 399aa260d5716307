"""Results that are in a folder already, before others are written there."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import read_json
from pu_unet_monai.printable import say

__all__ = ["EarlierResult", "earlier_results", "warn_of_other_weights"]

_ENDINGS = (".png", "_overlay.png", "_seg.nii.gz", "_prob.nii.gz", "_seg.dcm")
"""Of the names of all files that a case may leave."""


class EarlierResult(NamedTuple):
    """A file, and by what it is told from its replacement."""

    path: Path
    inode: int
    modified: int


def earlier_results(output: Path, case: str) -> set[EarlierResult]:
    """Return the files of a case that are in a folder.

    Args:
        output: the folder.
        case: the name that the case's results have.
    """
    found = set()
    for name in (f"{case}{ending}" for ending in _ENDINGS):
        with contextlib.suppress(OSError):
            file = (output / name).stat()
            found.add(EarlierResult(output / name, file.st_ino, file.st_mtime_ns))
    return found


def warn_of_other_weights(output: Path, weights_sha256: str) -> None:
    """Print a line if a folder holds results of other weights, which will be replaced or lie beside the new ones.

    Args:
        output: the folder.
        weights_sha256: of the weights of the new results.
    """
    try:
        report = read_json(output / "report.json")
    except UserError:  # none, or none of ours
        return
    made_with = report.get("made_with", report)
    if not isinstance(made_with, dict):
        return
    earlier = made_with.get("weights (SHA-256)", made_with.get("weights_sha256"))
    if earlier and earlier != weights_sha256:
        say(
            f"warning: {output}: holds results of other weights ({str(earlier)[:8]}, now {weights_sha256[:8]}); those "
            "of the same names are replaced, others stay beside the new ones"
        )
