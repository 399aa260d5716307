"""PU-UNet for MONAI: medical image segmentation with stable product units."""

from __future__ import annotations

__version__ = "0.1.0"
