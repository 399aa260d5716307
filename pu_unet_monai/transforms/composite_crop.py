"""Cropping every image of a dataset to one window around the composite foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, Padd, ResizeWithPadOrCrop
from monai.utils import ImageMetaKey

from pu_unet_monai.errors import UserError

__all__ = ["CompositeCrop", "CompositeCropd"]


class CompositeCrop(ResizeWithPadOrCrop):
    """Crop to a window of one size around the composite foreground box of a training set, and pad with zeros to it.

    The composite box holds the foreground of every training image, so that no brain is cut. An axis longer than the
    window is cropped around the centre of the box, a shorter one is padded evenly: with ``size=(192, 192, 160)`` all of
    240 x 240 x 155 becomes 192 x 192 x 160 (brain report: crop in-plane, pad the slices). Invertible.

    Args:
        start: first voxel of the composite box on each axis.
        end: first voxel behind the box on each axis; ``data_prep.brats`` writes both into its statistics.
        size: size of the window. Defaults to None, the box itself.
        lazy: see MONAI's lazy transforms. Defaults to False.

    Raises:
        UserError: if start, end and size do not make a box that fits into the window.
    """

    def __init__(
        self, start: Sequence[int], end: Sequence[int], size: Sequence[int] | None = None, lazy: bool = False
    ) -> None:
        size = [stop - first for first, stop in zip(start, end, strict=False)] if size is None else size
        _check_box(start, end, size)
        super().__init__(spatial_size=size, mode="constant", lazy=lazy)
        self.cropper: _CropAroundBox = _CropAroundBox(start, end, size, lazy)

    def __call__(self, img: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]
        """Return the window of an image (C, *spatial): (C, *size).

        Raises:
            UserError: if the image does not hold the box.
        """
        start, end = self.cropper.start, self.cropper.end
        meta = img if isinstance(img, MetaTensor) else None
        shape = tuple(img.shape[1:] if meta is None else meta.peek_pending_shape())
        if len(shape) != len(end) or any(stop > length for stop, length in zip(end, shape, strict=True)):
            file = "the image" if meta is None else meta.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "the image")
            raise UserError(
                f"{file}: has {'x'.join(map(str, shape))} voxels, but the composite box goes from {list(start)} to "
                f"{list(end)}; bring all images of the dataset to one grid, and take the box from its statistics."
            )
        return super().__call__(img, *args, **kwargs)


class CompositeCropd(Padd):
    """Dictionary form of :class:`CompositeCrop`."""

    def __init__(
        self,
        keys: KeysCollection,
        start: Sequence[int],
        end: Sequence[int],
        size: Sequence[int] | None = None,
        allow_missing_keys: bool = False,
        lazy: bool = False,
    ) -> None:
        # MONAI's ResizeWithPadOrCropd is such a Padd too
        crop = CompositeCrop(start, end, size, lazy)
        super().__init__(keys, crop, "constant", allow_missing_keys, lazy)  # type: ignore[arg-type]


class _CropAroundBox(CenterSpatialCrop):
    """Crop axes that are longer than the window, around the centre of the box instead of the image's."""

    def __init__(self, start: Sequence[int], end: Sequence[int], size: Sequence[int], lazy: bool) -> None:
        super().__init__(size, lazy)
        self.start, self.end, self.size = start, end, size

    def compute_slices(self, spatial_size: Sequence[int]) -> tuple[slice, ...]:  # type: ignore[override]
        slices = []
        for start, end, size, length in zip(self.start, self.end, self.size, spatial_size, strict=True):
            first = max(0, min((start + end) // 2 - size // 2, length - size))  # moved into the image
            slices.append(slice(first, min(first + size, length)))
        return tuple(slices)


def _check_box(start: Sequence[int], end: Sequence[int], size: Sequence[int]) -> None:
    found = f"start {list(start)}, end {list(end)}, size {list(size)}"
    if not len(start) == len(end) == len(size):
        raise UserError(f"composite crop: {found}; give each a number for every axis.")
    if not all(0 <= first < stop for first, stop in zip(start, end, strict=True)):
        raise UserError(f"composite crop: {found}; expected 0 <= start < end, take the box from the statistics.")
    box = [stop - first for first, stop in zip(start, end, strict=True)]
    if any(extent > window for extent, window in zip(box, size, strict=True)):
        raise UserError(f"composite crop: {found}; the box of {box} voxels must fit in, give a size of at least that.")
