"""PU-UNet for MONAI: medical image segmentation with stable product units.

Imported before PyTorch makes its first tensor, it has PyTorch ask Linux for pages of 2 MiB instead of 4 KiB: a training
on a CPU then takes a seventh less time (docs/speed.md). ``THP_MEM_ALLOC_ENABLE=0`` in the environment leaves it off.
"""

from __future__ import annotations

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch reads it once, with the first tensor

__version__ = "0.1.0"
