"""Transforms that MONAI lacks, in array and dictionary form."""

from __future__ import annotations

from pu_unet_monai.transforms.check import CheckSameSized
from pu_unet_monai.transforms.load import LoadMask, LoadMaskd, LoadRGB, LoadRGBd
from pu_unet_monai.transforms.save import SaveMask, SaveMaskd

__all__ = ["CheckSameSized", "LoadMask", "LoadMaskd", "LoadRGB", "LoadRGBd", "SaveMask", "SaveMaskd"]
