"""Loading ordinary images as RGB and masks as 0 and 1."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike, KeysCollection, PathLike
from monai.data import PILReader
from monai.transforms import MapTransform, Transform

from pu_unet_monai.readers.load_image import new_load_image
from pu_unet_monai.readers.pillow import MaskReader, RGBReader

__all__ = ["LoadMask", "LoadMaskd", "LoadRGB", "LoadRGBd"]


class _Load(Transform):
    """MONAI's ``LoadImage`` with one reader and no other to fall back on, so that its error reaches the user."""

    def __init__(self, reader: PILReader, dtype: DtypeLike) -> None:
        self._reader = reader
        self._load = new_load_image(dtype)

    def __call__(self, filename: Sequence[PathLike] | PathLike) -> torch.Tensor:
        return self._load(filename, reader=self._reader)


class LoadRGB(_Load):
    """Load an image of any mode as RGB: float32 in 0 to 255, (3, width, height) as MONAI's ``PILReader`` gives it.

    Raises:
        UserError: if the file is missing or unreadable.
    """

    def __init__(self) -> None:
        super().__init__(RGBReader(), np.float32)


class LoadMask(_Load):
    """Load a binary mask, or the union of several: uint8 of 0 and 1, (1, width, height).

    Raises:
        UserError: if a file is missing, unreadable or no binary mask, or several masks differ in size.
    """

    def __init__(self) -> None:
        super().__init__(MaskReader(), np.uint8)


class _Loadd(MapTransform):
    loader: type[LoadRGB] | type[LoadMask]

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._load = self.loader()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._load(d[key])
        return d


class LoadRGBd(_Loadd):
    """Dictionary form of :class:`LoadRGB`."""

    loader = LoadRGB


class LoadMaskd(_Loadd):
    """Dictionary form of :class:`LoadMask`."""

    loader = LoadMask
