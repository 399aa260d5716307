"""Resampling to a spacing beside whatever else an item holds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Spacingd

__all__ = ["PlainSpacingd"]


class PlainSpacingd(Spacingd):
    """MONAI's ``Spacingd`` that looks at its own keys alone.

    MONAI's (1.6.1) takes every key that begins with the image's for a dictionary of metadata, and fails on
    ``image_path``, which MONAI Label adds to every item.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Resample the volumes of all keys."""
        others = {key: value for key, value in data.items() if key not in self.keys}
        own = {key: value for key, value in data.items() if key in self.keys}
        return {**others, **super().__call__(own, lazy)}
