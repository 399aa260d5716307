"""Saving segmentations of volumes in the space of their images."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.volumes import write_volume

__all__ = ["SaveLabelMap", "SaveLabelMapd"]

_DESCRIPTION = "PU-UNet, research use only, not a medical device"
_FORCED = "FORCED, input unfit; research use only"


class SaveLabelMap(Transform):
    """Save a label map as ``<case>_seg.nii.gz`` with the geometry of its image, whole or not at all.

    A label map whose image was let through by ``force`` says so in the header's ``descrip``.

    Args:
        output_dir: folder to write to; it is made if missing.
    """

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.output_dir = Path(output_dir)

    def __call__(self, label_map: MetaTensor) -> MetaTensor:
        """Save and return ``label_map``, (1, x, y, z), inverted to the grid of its image."""
        path = self.output_dir / f"{case_name(label_map)}_seg.nii.gz"
        description = _FORCED if label_map.meta.get("forced") else _DESCRIPTION
        write_volume(label_map, path, np.uint8, description)
        return label_map


class SaveLabelMapd(MapTransform):
    """Dictionary form of :class:`SaveLabelMap`."""

    def __init__(
        self, keys: KeysCollection, output_dir: str | os.PathLike[str], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._save = SaveLabelMap(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save the label maps of all keys."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._save(d[key])
        return d
