"""MRI intensities as grey levels of a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["grey_levels"]


def grey_levels(image: NDArray) -> NDArray[np.float32]:
    """Scale intensities other than 0 from 0.05 to 1, by their 1st and 99.5th percentiles; background (0) stays black.

    Args:
        image: intensities of any range and shape, also negative ones, with 0 as background.
    """
    signal = image != 0
    if not signal.any():
        return np.zeros(image.shape, np.float32)
    low, high = np.percentile(image[signal], (1, 99.5))
    scaled = 0.05 + 0.95 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.where(signal, scaled, 0).astype(np.float32)
