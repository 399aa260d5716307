"""Datalists, readers, and the dataset that makes training reproducible."""

from __future__ import annotations

from pu_unet_monai.data.datalist import list_images, list_volumes, load_datalist
from pu_unet_monai.data.dataset import ReproducibleDataset
from pu_unet_monai.data.median_spacing import median_spacing
from pu_unet_monai.data.modalities import MODALITIES, modality_of
from pu_unet_monai.data.sampler import EachOnceSampler, EpochSampler
from pu_unet_monai.data.two_stage_dataset import TwoStageDataset
from pu_unet_monai.data.volume_cases import VolumeCase, find_volume_cases
from pu_unet_monai.readers.nifti import NiftiReader
from pu_unet_monai.readers.pillow import MaskReader, RGBReader

__all__ = [
    "MODALITIES",
    "EachOnceSampler",
    "EpochSampler",
    "MaskReader",
    "NiftiReader",
    "RGBReader",
    "ReproducibleDataset",
    "TwoStageDataset",
    "VolumeCase",
    "find_volume_cases",
    "list_images",
    "list_volumes",
    "load_datalist",
    "median_spacing",
    "modality_of",
]
