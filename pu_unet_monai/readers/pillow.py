"""MONAI readers of ordinary images (PNG, JPEG, ...) that give RGB and binary masks whatever the file's own mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.data import PILReader
from monai.utils import ensure_tuple
from PIL import Image

from pu_unet_monai.errors import UserError
from pu_unet_monai.images import read_mask, read_rgb

__all__ = ["MaskReader", "RGBReader"]


class RGBReader(PILReader):
    """MONAI reader of an image as RGB, see :func:`~pu_unet_monai.images.read_rgb`."""

    def read(self, data: Sequence[PathLike] | PathLike | np.ndarray, **kwargs: object) -> Image.Image:
        """Read one image."""
        (path,) = ensure_tuple(data)
        return read_rgb(path)

    def _get_meta_dict(self, img: Image.Image) -> dict:
        return {"width": img.width, "height": img.height}


class MaskReader(PILReader):
    """MONAI reader of a binary mask (0 and 1), see :func:`~pu_unet_monai.images.read_mask`; several are merged."""

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
