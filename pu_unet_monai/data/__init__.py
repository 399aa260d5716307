"""Datalists, readers, and the dataset that makes training reproducible."""

from __future__ import annotations

from pu_unet_monai.data.datalist import list_images, load_datalist
from pu_unet_monai.data.dataset import ReproducibleDataset
from pu_unet_monai.data.readers import MaskReader, RGBReader
from pu_unet_monai.data.sampler import EpochSampler

__all__ = ["EpochSampler", "MaskReader", "RGBReader", "ReproducibleDataset", "list_images", "load_datalist"]
