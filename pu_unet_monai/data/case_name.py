"""What a case is called in scores, pictures and results."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from monai.data import MetaTensor
from monai.utils import ImageMetaKey

from pu_unet_monai.volumes import strip_suffix

__all__ = ["case_name", "name_of_files"]


def case_name(image: MetaTensor) -> str:
    """Return the name of the case that an image, or a prediction for it, belongs to.

    It is the name of the file without its extension; of several files (modalities), what they have in common.
    """
    return image.meta.get("case") or name_of_files([image.meta[ImageMetaKey.FILENAME_OR_OBJ]])


def name_of_files(files: Sequence[str | os.PathLike[str]]) -> str:
    """Return the name of a case from its files: ``A`` for ``A.nii.gz``, and for ``A_flair.nii`` and ``A_t1.nii``.

    Args:
        files: one file, or one for each modality; of files that have nothing in common the folder gives the name.
    """
    stems = [strip_suffix(path) for path in files]
    if len(stems) == 1:
        return stems[0]
    common = re.match(r"(.*)[-_. ]", _common_start(stems))
    return common[1] if common and common[1] else Path(files[0]).resolve().parent.name


def _common_start(texts: Sequence[str]) -> str:
    same = [len(set(characters)) == 1 for characters in zip(*texts, strict=False)]
    return texts[0][: (*same, False).index(False)]
