"""Inferers that MONAI lacks."""

from __future__ import annotations

from pu_unet_monai.inferers.bfloat16 import CPUBFloat16Inferer
from pu_unet_monai.inferers.foreground import ForegroundInferer
from pu_unet_monai.inferers.overlap_tile import OverlapTileInferer
from pu_unet_monai.inferers.runtime import RuntimeInferer
from pu_unet_monai.inferers.window import tile_size

__all__ = ["CPUBFloat16Inferer", "ForegroundInferer", "OverlapTileInferer", "RuntimeInferer", "tile_size"]
