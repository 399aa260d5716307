"""How a mask file becomes foreground and background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pu_unet_monai.errors import UserError

__all__ = ["read_mask"]

GREY_SHARE = 0.3
"""More than this share of grey (32-223) among the pixels above 31 is not the blur around a mask's edge. Measured on
Kvasir-SEG, whose masks are JPEG: at most 0.16."""


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a 2D mask as booleans, rows first.

    The image is converted to greyscale: transparency is dropped, colours become their brightness, 1-bit becomes
    0/255, and 16-bit values above 255 are divided by 257. Foreground is what is above 127; in a mask whose largest
    value is 1, what is above 0. Grey values around the edges (JPEG, rescaling) are fine. The pixels are taken as
    stored: an EXIF orientation is not applied, just as MONAI's readers do not.

    Args:
        path: mask file.

    Raises:
        UserError: if the values look like a label map or a picture.
    """
    grey = _greyscale(path)
    largest = int(grey.max())
    if largest <= 1:
        return grey > 0
    if largest <= 127:
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 (or 0 and 1); if this is a label map, "
            "save the wanted label as a mask of its own"
        )
    if _grey_share(grey) > GREY_SHARE:
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 only; this looks like a picture or a label map, "
            "not like a mask"
        )
    return grey > 127


def _greyscale(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        if not image.mode.startswith("I"):
            return np.asarray(image.convert("L"))
        wide = np.asarray(image).astype(np.int64)
    return (wide // 257 if wide.max() > 255 else wide).clip(0, 255).astype(np.uint8)


def _grey_share(grey: NDArray[np.uint8]) -> float:
    return float(np.mean(grey[grey > 31] < 224))


def _values(grey: NDArray[np.uint8]) -> str:
    found = np.unique(grey)
    shown = ", ".join(map(str, found[:8]))
    return shown if len(found) <= 8 else f"{shown}, ... {found[-1]}"
