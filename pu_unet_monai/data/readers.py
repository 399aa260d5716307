"""Readers of ordinary images (PNG, JPEG, ...) that give RGB and binary masks whatever the file's own mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.data import PILReader
from monai.utils import ensure_tuple
from PIL import Image, ImageOps

from pu_unet_monai.errors import UserError

__all__ = ["MaskReader", "RGBReader", "read_mask", "read_rgb"]


def read_rgb(path: PathLike) -> Image.Image:
    """Read an image of any mode as 8-bit RGB, turned upright by its EXIF orientation.

    Transparency is dropped, 16-bit grey is scaled to 8 bits.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, or no image.
    """
    return _to_8_bits(_open(path)).convert("RGB")


def read_mask(path: PathLike) -> np.ndarray:
    """Read a mask of any mode as an array of booleans, (height, width).

    Foreground is what is brighter than half of white, so that the grey edges of a JPEG fall on one side; a file
    that holds only 0 and 1 is taken as it is. Transparency is dropped.

    Args:
        path: a file that Pillow reads.

    Raises:
        UserError: if the file is missing, cut short, no image, or its brightest value is between 2 and 127, as in
            a map of several labels.
    """
    grey = np.asarray(_to_8_bits(_open(path)).convert("L"))
    brightest = int(grey.max())
    if 1 < brightest <= 127:
        raise UserError(
            f"{path}: the brightest value of this mask is {brightest}; expected 0 and 255, or 0 and 1. "
            "Make one binary mask of the label that you want."
        )
    return grey > 127 if brightest > 1 else grey > 0


class RGBReader(PILReader):
    """MONAI reader of an image as RGB, see :func:`read_rgb`."""

    def read(self, data: Sequence[PathLike] | PathLike | np.ndarray, **kwargs: object) -> Image.Image:
        """Read one image."""
        (path,) = ensure_tuple(data)
        return read_rgb(path)

    def _get_meta_dict(self, img: Image.Image) -> dict:
        return {"width": img.width, "height": img.height}


class MaskReader(PILReader):
    """MONAI reader of a binary mask (0 and 1), see :func:`read_mask`; several files are merged by union."""

    def read(self, data: Sequence[PathLike] | PathLike | np.ndarray, **kwargs: object) -> Image.Image:
        """Read one mask, or the union of several.

        Raises:
            UserError: if several masks differ in size.
        """
        masks = {str(path): read_mask(path) for path in ensure_tuple(data)}
        if len({mask.shape for mask in masks.values()}) > 1:
            sizes = ", ".join(f"{Path(path).name} {m.shape[1]}x{m.shape[0]}" for path, m in masks.items())
            raise UserError(f"masks of one image differ in size: {sizes}; export them again at the image's size.")
        return Image.fromarray(np.any(list(masks.values()), axis=0).astype(np.uint8))

    def _get_meta_dict(self, img: Image.Image) -> dict:
        return {"width": img.width, "height": img.height}


def _open(path: PathLike) -> Image.Image:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file.")
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error}); export or copy it again.") from error


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey down; Pillow's own conversion would cut off everything above 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
