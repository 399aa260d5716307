"""Checks that a label belongs to its image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import grid_text, same_grid

__all__ = ["CheckSameGridd", "CheckSameSized"]


class CheckSameSized(MapTransform):
    """Refuse an item whose arrays (channels first) differ in their spatial size; otherwise change nothing.

    Resizing to the network's grid would hide that a mask is another image's, or was cropped.

    Raises:
        UserError: naming the files and their sizes.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the arrays of all keys."""
        d = dict(data)
        sizes = {key: tuple(d[key].shape[1:]) for key in self.key_iterator(d)}
        if len(set(sizes.values())) > 1:
            found = ", ".join(
                f"{d[key].meta[ImageMetaKey.FILENAME_OR_OBJ]} is {'x'.join(map(str, size))}"
                for key, size in sizes.items()
            )
            raise UserError(f"image and mask differ in size: {found}; export the mask again at the image's size.")
        return d


class CheckSameGridd(MapTransform):
    """Refuse an item whose volumes (C, x, y, z) differ in shape or affine; otherwise change nothing.

    Raises:
        UserError: naming the files and their grids.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the volumes of all keys."""
        d = dict(data)
        volumes = [d[key] for key in self.key_iterator(d)]
        if not all(same_grid(volumes[0], volume) for volume in volumes[1:]):
            found = ", ".join(f"{v.meta[ImageMetaKey.FILENAME_OR_OBJ]} has {grid_text(v)}" for v in volumes)
            raise UserError(f"image and label lie on different grids: {found}; resample the label to the image's grid.")
        return d
