"""Networks, one module each."""

from __future__ import annotations

from pu_unet_monai.networks.nets.original_unet import OriginalUNet
from pu_unet_monai.networks.nets.padded_unet import PaddedUNet
from pu_unet_monai.networks.nets.pu_unet import PUUNet
from pu_unet_monai.networks.nets.r2_unet import R2UNet
from pu_unet_monai.networks.nets.segnet import SegNet
from pu_unet_monai.networks.nets.transunet import TransUNet
from pu_unet_monai.networks.nets.unet3d import UNet3D

__all__ = ["OriginalUNet", "PUUNet", "PaddedUNet", "R2UNet", "SegNet", "TransUNet", "UNet3D"]
