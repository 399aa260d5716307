"""Which way up an image is to be shown."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image, ImageOps

__all__ = ["exif_orientation", "turn_upright"]

_UPRIGHT = 1
_ORIENTATION = int(ExifTags.Base.Orientation)
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""By the code of a type in TIFF: how ``struct`` calls it."""
_BLOCK, _BLOCK_AS_TEXT = "exif", "Raw profile type exif"


def turn_upright(image: Image.Image) -> Image.Image:
    """Return a copy of a loaded image, upright.

    Raises:
        ValueError: if its EXIF data are damaged, so that it cannot be known which way up it is.
    """
    exif = Image.Exif()
    exif[_ORIENTATION] = exif_orientation(image)
    upright = image.copy()
    upright.info.pop(_BLOCK_AS_TEXT, None)
    upright.info[_BLOCK] = exif.tobytes()  # nothing else, since Pillow writes it anew and damaged tags fail there
    ImageOps.exif_transpose(upright, in_place=True)
    return upright


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image, 1 to 8; 1 (upright) where nothing is said.

    Args:
        image: as Pillow loaded it, which turns a TIFF upright by itself.

    Raises:
        ValueError: if its EXIF data are damaged, so that it cannot be known.
    """
    try:
        found = _in_block(_block(image))
    except (struct.error, KeyError) as error:
        raise ValueError("its EXIF data are damaged") from error
    if found is None:
        found = _in_xmp(image)
    if found not in range(9):
        raise ValueError(f"its EXIF orientation is {found}, expected 1 to 8")
    return found or _UPRIGHT  # programs that do not know it write 0


def _block(image: Image.Image) -> bytes:
    as_text = image.info.get(_BLOCK_AS_TEXT, "").split("\n")[3:]  # behind its name and length
    block = image.info.get(_BLOCK) or bytes.fromhex("".join(as_text))
    return block.removeprefix(b"Exif\0\0")


def _in_block(block: bytes) -> int | None:
    """Find the orientation in the first directory of an EXIF block, None if it has none.

    Pillow gives up a directory at the first tag that is damaged, and says nothing of an orientation behind that.
    """
    if not block:
        return None
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (number,) = struct.unpack_from(f"{order}H", block, start)
    for entry in range(start + 2, start + 2 + 12 * number, 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHI4s", block, entry)
        if tag == _ORIENTATION:
            if count != 1:
                raise ValueError(f"its EXIF data have {count} orientations")
            return int(struct.unpack_from(order + _WHOLE_NUMBERS[kind], value)[0])
    return None


def _in_xmp(image: Image.Image) -> int:
    without_block = Image.new("1", (1, 1))
    without_block.info = {key: value for key, value in image.info.items() if key not in (_BLOCK, _BLOCK_AS_TEXT)}
    return int(without_block.getexif().get(_ORIENTATION, _UPRIGHT))
