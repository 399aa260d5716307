"""How a trained network is loaded and run."""

from __future__ import annotations

from pu_unet_monai.runtime.export import export_program
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16
from pu_unet_monai.runtime.weights import load_weights, read_checkpoint

__all__ = ["cpu_is_fast_in_bfloat16", "export_program", "load_weights", "read_checkpoint"]
