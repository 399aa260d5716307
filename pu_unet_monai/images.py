"""Reading ordinary images (PNG, JPEG, ...) of any mode as RGB, and masks as booleans."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pu_unet_monai.errors import UserError

__all__ = ["read_mask", "read_rgb"]

GREY_SHARE = 0.3
"""More than this share of grey (32-223) among the pixels above 31 is not the blur around a mask's edge. Measured on
Kvasir-SEG, whose masks are JPEG: at most 0.16."""


def read_rgb(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image of any mode as 8-bit RGB, turned upright by its EXIF orientation.

    Transparency is dropped, 16-bit grey is scaled to 8 bits.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, or no image.
    """
    return _to_8_bits(_open(path)).convert("RGB")


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Read a mask of any mode as booleans, (height, width), turned upright by its EXIF orientation.

    Colours become their brightness, transparency is dropped, 1-bit becomes 0 and 255. Foreground is what is above
    127, so that the grey edges of a JPEG fall on one side; in a mask whose largest value is 1, what is above 0.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, no image, or its values look like a label map or a picture.
    """
    grey = np.asarray(_to_8_bits(_open(path)).convert("L"))
    largest = int(grey.max())
    if largest <= 1:
        return grey > 0
    if largest <= 127:
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 (or 0 and 1); if this is a label map, "
            "save the wanted label as a mask of its own"
        )
    if np.mean(grey[grey > 31] < 224) > GREY_SHARE:
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 only; this looks like a picture or a label map, "
            "not like a mask"
        )
    return grey > 127


def _open(path: str | os.PathLike[str]) -> Image.Image:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise UserError(f"{path}: not a readable image ({reason}); export or copy it again") from error


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey down; Pillow's own conversion would cut off everything above 255."""
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int64)
    return Image.fromarray((wide // 257 if wide.max() > 255 else wide).clip(0, 255).astype(np.uint8))


def _values(grey: NDArray[np.uint8]) -> str:
    found = np.unique(grey)
    shown = ", ".join(map(str, found[:8]))
    return shown if len(found) <= 8 else f"{shown}, ... {found[-1]}"
