"""How a picture is to be shown, by another way than the one that is tested."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["shown"]

_TURNED: dict[int, Callable[[NDArray], NDArray]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""By orientation, as EXIF 2.32 tells where the first row and column of what is stored belong."""


def shown(path: Path, mode: str) -> NDArray:
    """Return an image in a mode of Pillow's, turned as its EXIF block says, which is read by NumPy.

    Where Pillow turns it without a complaint, both must be the same.
    """
    with Image.open(path) as image:
        image.load()
        turned = _TURNED[_orientation(image.info.get("exif", b""))](np.asarray(image.convert(mode)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path) as image:
                theirs = ImageOps.exif_transpose(image)
    except Exception:  # of many kinds, which is why it is not asked alone
        return turned
    np.testing.assert_array_equal(turned, theirs.convert(mode))
    return turned


def _orientation(exif: bytes) -> int:
    block = exif.removeprefix(b"Exif\0\0")
    if not block:
        return 1
    order = "<" if block.startswith(b"II") else ">"
    entry = np.dtype([("tag", "u2"), ("kind", "u2"), ("count", "u4"), ("value", "V4")]).newbyteorder(order)
    start = int(np.frombuffer(block, f"{order}u4", 1, 4)[0])
    number = int(np.frombuffer(block, f"{order}u2", 1, start)[0])
    whole = block[start + 2 :][: 12 * number]
    entries = np.frombuffer(whole[: len(whole) // 12 * 12], entry)
    found = entries[entries["tag"] == 0x112][:1]
    if not found.size:
        return 1
    size = {1: 1, 3: 2, 4: 4}[int(found["kind"][0])]
    return max(1, int.from_bytes(found["value"][0].tobytes()[:size], "little" if order == "<" else "big"))
