"""The window that a network's weights were trained for."""

from __future__ import annotations

from collections.abc import Sequence

from pu_unet_monai.errors import UserError

__all__ = ["FOREGROUND", "tile_size"]

FOREGROUND = "foreground"
"""The window of weights that were trained on whole foreground boxes."""


def tile_size(window: str | Sequence[int], roi_size: Sequence[int]) -> list[int]:
    """Return the size of the tiles of an inference that goes by tiles.

    Args:
        window: what the weights were trained for: ``"foreground"``, or the size of their patches.
        roi_size: size of the tiles where a whole foreground does not fit into memory.

    Returns:
        The patches' size, as normalisation over the window (GroupNorm) is to see what it saw in training; for
        ``"foreground"``, ``roi_size``.

    Raises:
        UserError: if the window is neither.
    """
    if window == FOREGROUND:
        return list(roi_size)
    if isinstance(window, str) or len(window) != len(roi_size) or not all(size > 0 for size in window):
        raise UserError(f'window: {window!r}, expected "{FOREGROUND}" or a size such as {list(roi_size)}.')
    return list(window)
