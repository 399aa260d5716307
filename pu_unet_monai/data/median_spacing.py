"""The spacing that a training set has in the middle."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pu_unet_monai.errors import UserError

__all__ = ["median_spacing"]


def median_spacing(statistics_file: str | os.PathLike[str]) -> list[float]:
    """Read the median spacing of the training part, for a bundle's ``spacing``.

    Resampling all volumes to it loses least over the whole set (Isensee et al. 2021, nnU-Net).

    Args:
        statistics_file: ``<datalist>_statistics.json``, which ``python -m data_prep.brats`` writes beside its datalist.

    Returns:
        Millimetres along x, y and z of the networks' working orientation, LPS.

    Raises:
        UserError: if the file is missing, or holds no median spacing of three positive numbers.
    """
    path = Path(statistics_file)
    try:
        spacing = json.loads(path.read_text(encoding="utf-8"))["median_spacing"]
    except OSError as error:
        raise UserError(f"statistics_file {path}: {error.strerror}; python -m data_prep.brats writes it.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"statistics_file {path}: no JSON with median_spacing; give the file that python -m data_prep.brats wrote "
            "beside the datalist."
        ) from error
    numbers = isinstance(spacing, list) and all(isinstance(side, int | float) and side > 0 for side in spacing)
    if not (numbers and len(spacing) == 3):
        raise UserError(f"statistics_file {path}: median_spacing is {spacing}, expected three positive numbers in mm.")
    return [float(side) for side in spacing]
