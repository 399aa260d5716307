"""Checks of 3D image and label pairs: every file is read in full, and all bad files are reported at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from tqdm import tqdm

from data_prep.cases import Case, raise_if_any
from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import VOLUME_SUFFIXES, read_volume, same_grid

__all__ = ["VOLUME_SUFFIXES", "check_volumes"]


def check_volumes(cases: Sequence[Case], problems: Sequence[str] = ()) -> None:
    """Read every image and label and check that shape, affine and values fit.

    Args:
        cases: cases to check, with one label each.
        problems: what was found when the files were paired; it is reported together with what is found here.

    Raises:
        UserError: naming all files that are unreadable, lie on different grids or hold more than 0 and 1.
    """
    found = [problem for case in tqdm(cases, desc="checking", unit="image") for problem in _problems_of(case)]
    problems = [*problems, *found]
    raise_if_any(problems, "bad file(s)", "Add, repair or remove them and run the command again; nothing was written.")


def _problems_of(case: Case) -> list[str]:
    volumes: list[MetaTensor] = []
    problems: list[str] = []
    for path in (case.image, *case.labels):
        try:
            volumes.append(read_volume(path))
        except UserError as error:
            problems.append(str(error))
    if problems:
        return problems
    image, label = volumes
    name = case.labels[0]
    if len(label) != 1 or image.shape[1:] != label.shape[1:]:
        return [f"{name}: shape {_text(label)}, but the image {case.image.name} has {_text(image)}"]
    if not same_grid(image, label):
        return [f"{name}: its affine differs from that of the image {case.image.name}; resample it to the image's grid"]
    values = np.unique(label.numpy())
    if not set(values.tolist()) <= {0.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
        return [f"{name}: values {shown}, expected 0 and 1 (binary); save the wanted structure as 1 and all else as 0"]
    return []


def _text(volume: MetaTensor) -> str:
    """Return the shape of a volume (C, x, y, z), without C where it is 1."""
    return "x".join(map(str, volume.shape[1:] if len(volume) == 1 else volume.shape))
