"""MONAI's ``LoadImage`` for readers of our own."""

from __future__ import annotations

import logging
import warnings

from monai.config import DtypeLike
from monai.transforms import LoadImage

__all__ = ["new_load_image"]


def new_load_image(dtype: DtypeLike) -> LoadImage:
    """Return a ``LoadImage`` that gives channels first.

    It makes all of MONAI's readers, also those that are not asked for; where pydicom is installed, one of them
    complains in every program that there is no GPU decoder for DICOM. That is kept quiet.

    Args:
        dtype: type of the voxels; None keeps the file's.
    """
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
        return LoadImage(image_only=True, ensure_channel_first=True, dtype=dtype)
