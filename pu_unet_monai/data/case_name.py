"""What a case is called in scores, pictures and results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from monai.data import MetaTensor
from monai.utils import ImageMetaKey

from pu_unet_monai.data.modalities import split_modality
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
        files: one file, or one for each modality; if the first is named by its modality alone (``A/flair.nii``) the
            folder gives the name, as in :func:`~pu_unet_monai.data.volume_cases.find_volume_cases`.
    """
    stem = strip_suffix(files[0])
    if len(files) == 1:
        return stem
    return split_modality(stem)[0] or Path(files[0]).absolute().parent.name
