"""Transforms that MONAI lacks, in array and dictionary form."""

from __future__ import annotations

from pu_unet_monai.transforms.boundary_weight_map import BoundaryWeightMap, BoundaryWeightMapd
from pu_unet_monai.transforms.check import CheckSameGridd, CheckSameSized
from pu_unet_monai.transforms.check_brain_mri import CheckBrainMRI, CheckBrainMRId
from pu_unet_monai.transforms.composite_crop import CompositeCrop, CompositeCropd
from pu_unet_monai.transforms.elastic import RandCoarseElastic, RandCoarseElasticd
from pu_unet_monai.transforms.finest_output import FinestOutput, FinestOutputd
from pu_unet_monai.transforms.load import LoadMask, LoadMaskd, LoadRGB, LoadRGBd
from pu_unet_monai.transforms.load_volume import LoadVolume, LoadVolumed
from pu_unet_monai.transforms.minicubes import JoinMinicubes, JoinMinicubesd, SplitMinicubes, SplitMinicubesd
from pu_unet_monai.transforms.nonzero import foreground, nonzero
from pu_unet_monai.transforms.normalize import NormalizeForeground, NormalizeForegroundd
from pu_unet_monai.transforms.regions import LabelToRegions, LabelToRegionsd, RegionsToLabel, RegionsToLabeld
from pu_unet_monai.transforms.save import SaveMask, SaveMaskd
from pu_unet_monai.transforms.save_volume import SaveLabelMap, SaveLabelMapd
from pu_unet_monai.transforms.spacing import PlainSpacingd

__all__ = [
    "BoundaryWeightMap",
    "BoundaryWeightMapd",
    "CheckBrainMRI",
    "CheckBrainMRId",
    "CheckSameGridd",
    "CheckSameSized",
    "CompositeCrop",
    "CompositeCropd",
    "FinestOutput",
    "FinestOutputd",
    "JoinMinicubes",
    "JoinMinicubesd",
    "LabelToRegions",
    "LabelToRegionsd",
    "LoadMask",
    "LoadMaskd",
    "LoadRGB",
    "LoadRGBd",
    "LoadVolume",
    "LoadVolumed",
    "NormalizeForeground",
    "NormalizeForegroundd",
    "PlainSpacingd",
    "RandCoarseElastic",
    "RandCoarseElasticd",
    "RegionsToLabel",
    "RegionsToLabeld",
    "SaveLabelMap",
    "SaveLabelMapd",
    "SaveMask",
    "SaveMaskd",
    "SplitMinicubes",
    "SplitMinicubesd",
    "foreground",
    "nonzero",
]
