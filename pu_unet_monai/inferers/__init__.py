"""Inferers that MONAI lacks."""

from __future__ import annotations

from pu_unet_monai.inferers.bfloat16 import CPUBFloat16Inferer

__all__ = ["CPUBFloat16Inferer"]
