"""What a case is called in scores, pictures and results."""

from __future__ import annotations

from pathlib import Path

from monai.data import MetaTensor
from monai.utils import ImageMetaKey

__all__ = ["case_name"]


def case_name(image: MetaTensor) -> str:
    """Return the name of the file that an image, or a prediction for it, came from, without its extension."""
    return Path(image.meta[ImageMetaKey.FILENAME_OR_OBJ]).stem
