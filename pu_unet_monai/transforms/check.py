"""Checks that a mask belongs to its image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from pu_unet_monai.errors import UserError

__all__ = ["CheckSameSized"]


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
