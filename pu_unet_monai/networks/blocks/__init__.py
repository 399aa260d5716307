"""Building blocks that MONAI lacks; importing them registers them in MONAI's layer factories."""

from __future__ import annotations

from pu_unet_monai.networks.blocks import activation as activation
from pu_unet_monai.networks.blocks.attention_gate import AttentionGate
from pu_unet_monai.networks.blocks.product_unit import ProductUnit
from pu_unet_monai.networks.blocks.recurrent import RecurrentBlock, RecurrentConv
from pu_unet_monai.networks.blocks.residual import ResidualBlock

__all__ = ["AttentionGate", "ProductUnit", "RecurrentBlock", "RecurrentConv", "ResidualBlock"]
