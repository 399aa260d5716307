"""Checks of 3D image and label pairs: every file is read in full, and all bad files are reported at once."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.data import MetaTensor
from monai.transforms import LoadImage
from nibabel.filebasedimages import ImageFileError
from tqdm import tqdm

from data_prep.cases import Case, raise_if_any
from pu_unet_monai.errors import UserError

__all__ = ["VOLUME_SUFFIXES", "check_volumes"]

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
AFFINE_TOLERANCE = 1e-3
"""In mm; headers store affines in single precision."""


def check_volumes(cases: Sequence[Case], problems: Sequence[str] = ()) -> None:
    """Read every image and label and check that shape, affine and values fit.

    Args:
        cases: cases to check, with one label each.
        problems: what was found when the files were paired; it is reported together with what is found here.

    Raises:
        UserError: naming all files that are unreadable, lie on different grids or hold more than 0 and 1.
    """
    load = LoadImage(image_only=True)
    found = [problem for case in tqdm(cases, desc="checking", unit="image") for problem in _problems_of(case, load)]
    problems = [*problems, *found]
    raise_if_any(problems, "bad file(s)", "Add, repair or remove them and run the command again; nothing was written.")


def _problems_of(case: Case, load: LoadImage) -> list[str]:
    volumes: list[MetaTensor] = []
    problems: list[str] = []
    for path in (case.image, *case.labels):
        try:
            volumes.append(_read(path, load))
        except UserError as error:
            problems.append(str(error))
    if problems:
        return problems
    image, label = volumes
    name = case.labels[0]
    if label.ndim != 3 or image.shape[:3] != label.shape:
        return [f"{name}: shape {_text(label)}, but the image {case.image.name} has {_text(image)}"]
    if not np.allclose(image.affine, label.affine, atol=AFFINE_TOLERANCE):
        return [f"{name}: its affine differs from that of the image {case.image.name}; resample it to the image's grid"]
    values = np.unique(label.numpy())
    if not set(values.tolist()) <= {0.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
        return [f"{name}: values {shown}, expected 0 and 1 (binary); save the wanted structure as 1 and all else as 0"]
    return []


def _read(path: Path, load: LoadImage) -> MetaTensor:
    try:
        return load(path)
    except (OSError, RuntimeError, ValueError, EOFError, ImageFileError, zlib.error) as error:
        reason = str(error.__cause__ or error).strip().splitlines()
        raise UserError(
            f"{path}: cannot be read as a volume ({reason[-1] if reason else type(error).__name__})"
        ) from error


def _text(volume: MetaTensor) -> str:
    return "x".join(map(str, volume.shape))
