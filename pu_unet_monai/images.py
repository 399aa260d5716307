"""Reading ordinary images (PNG, JPEG, ...) of any mode as RGB, and masks as booleans."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

from pu_unet_monai.errors import UserError
from pu_unet_monai.readers.exif_orientation import turn_upright

__all__ = ["IMAGE_SUFFIXES", "UNREADABLE", "read_mask", "read_rgb"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Endings of the file names that count as images."""

UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError)
"""What Pillow raises of damaged files, and of those that are none of images."""

_NEW_SUBFILE_TYPE, _REDUCED = 254, 1
"""The tag of a TIFF's page, and its bit, that say that it is a smaller copy of another one."""

_GREY_SHARE = 0.3
_EDGE_WIDTH = 4
"""Grey (32 to 223) within so many pixels of the outline is the blur of an edge. More of it elsewhere than this share of
all pixels above 31 is a picture or a label map (Kvasir-SEG's JPEG masks: under 0.0001)."""


def read_rgb(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image of any mode as 8-bit RGB, turned upright by its EXIF orientation.

    Transparency is dropped, 12-bit and 16-bit grey is scaled to 8 bits.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, no image, or damaged where its EXIF says which way up it is.
    """
    return _to_8_bits(_open(path), path).convert("RGB")


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Read a mask of any mode as booleans, (height, width), turned upright by its EXIF orientation.

    Colours become their brightness, transparency is dropped, 1-bit becomes 0 and 255. Foreground is what is above
    127, so that the grey edges of a JPEG fall on one side; in a mask whose largest value is 1, what is above 0.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, no image, or its values look like a label map or a picture.
    """
    grey = np.asarray(_to_8_bits(_open(path), path).convert("L"))
    largest = int(grey.max())
    if largest <= 1:
        return grey > 0
    if largest <= 127:
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 (or 0 and 1); if this is a label map, "
            "save the wanted label as a mask of its own"
        )
    mask = grey > 127
    # 0, 1 and 255 are two labels, of which the threshold would drop one; JPEG has such values by itself
    two_labels = np.unique(grey).tolist() == [0, 1, 255] and Path(path).suffix.lower() not in (".jpg", ".jpeg")
    if two_labels or _is_picture(grey, mask):
        raise UserError(
            f"{path}: values {_values(grey)}, expected 0 and 255 only; this looks like a picture or a label map, "
            "not like a mask"
        )
    return mask


def _open(path: str | os.PathLike[str]) -> Image.Image:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            _check_pages(image, path)
            image.load()
            return turn_upright(image)
    except PermissionError as error:
        raise UserError(f"{path}: may not be read ({error.strerror}); ask for the right to read it") from error
    except UNREADABLE as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise UserError(f"{path}: not a readable image ({reason}); export or copy it again") from error


def _check_pages(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Refuse a TIFF of several pages, of which the first alone would be read; smaller copies of it do not count."""
    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return
    pages = 0
    for number in range(image.n_frames):
        image.seek(number)
        pages += not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED
    image.seek(0)
    if pages > 1:
        raise UserError(f"{path}: {pages} pages, expected one image; save each page as a file of its own")


def _is_picture(grey: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    between = (grey > 31) & (grey < 224)
    if not between.any():
        return False
    outline = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)
    near = ndimage.binary_dilation(outline, iterations=_EDGE_WIDTH)
    return bool(np.count_nonzero(between & ~near) > _GREY_SHARE * np.count_nonzero(grey > 31))


def _to_8_bits(image: Image.Image, path: str | os.PathLike[str]) -> Image.Image:
    """Scale 12-bit and 16-bit grey down; Pillow's own conversion would cut off everything above 255."""
    if image.mode == "F":
        raise UserError(f"{path}: a picture of floating-point numbers, whose white is unknown; export it as 8-bit")
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int64)
    white = next((white for white in (255, 4095, 65535) if wide.max() <= white), None)
    if white is None or wide.min() < 0:
        raise UserError(f"{path}: values from {wide.min()} to {wide.max()}, expected 8, 12 or 16 bits; export it again")
    return Image.fromarray((wide * 255 // white).astype(np.uint8))


def _values(grey: NDArray[np.uint8]) -> str:
    found = np.unique(grey)
    shown = ", ".join(map(str, found[:8]))
    return shown if len(found) <= 8 else f"{shown}, ... {found[-1]}"
