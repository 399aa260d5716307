"""Networks, one module each."""

from __future__ import annotations

from pu_unet_monai.networks.nets.padded_unet import PaddedUNet
from pu_unet_monai.networks.nets.pu_unet import PUUNet

__all__ = ["PUUNet", "PaddedUNet"]
