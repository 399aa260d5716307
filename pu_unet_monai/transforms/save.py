"""Saving predicted masks of ordinary images."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_numpy
from PIL import Image

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.files import atomic_path

__all__ = ["SaveMask", "SaveMaskd"]


class SaveMask(Transform):
    """Save a binary mask as ``<stem of its image>.png``, 0 and 255, whole or not at all.

    Args:
        output_dir: folder to write to; it is made if missing.
    """

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.output_dir = Path(output_dir)

    def __call__(self, mask: MetaTensor) -> MetaTensor:
        """Save and return ``mask``, a MetaTensor (width, height) of 0 and 1 that knows the name of its image."""
        pixels = convert_to_numpy(mask).T.astype(np.uint8) * 255
        with atomic_path(self.output_dir / f"{case_name(mask)}.png") as path:
            Image.fromarray(pixels).save(path)
        return mask


class SaveMaskd(MapTransform):
    """Dictionary form of :class:`SaveMask`."""

    def __init__(
        self, keys: KeysCollection, output_dir: str | os.PathLike[str], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._save = SaveMask(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save the masks of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._save(d[key])
        return d
