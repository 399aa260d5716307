"""Images that are damaged, or are not what their names say, and unusual ones that are right."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from tests.reliability.damage import damaged

__all__ = ["bad_images", "exif_block", "good_image", "with_exif"]

_FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}


def good_image(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """Return a picture of a bright disc."""
    y, x = np.mgrid[: size[1], : size[0]]
    disc = np.hypot(x - size[0] / 2, y - size[1] / 2) < min(size) / 4
    rgb = np.stack([np.where(disc, 200, 60), x % 256, y % 256], axis=-1).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


def bad_images() -> Iterator[tuple[str, bytes]]:
    """Yield a file name and its content; each is an error, or right whatever Pillow makes of it."""
    generator = random.Random(0)
    for suffix, kind in _FORMATS.items():
        content = _encoded(good_image(), kind)
        for name, bad in damaged(content, generator, flips=8):
            yield f"{suffix}_{name}.{suffix}", bad
    for suffix in ("jpg", "tif", "bmp"):
        yield f"png_called_{suffix}.{suffix}", _encoded(good_image(), "PNG")
    yield "gif_called_png.png", _encoded(good_image(), "GIF")
    yield "icon_called_png.png", _encoded(good_image((32, 32)), "ICO")
    yield "pdf_called_png.png", _encoded(good_image(), "PDF")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        yield f"mode_{mode.replace(';', '')}.png", _encoded(_in_mode(mode), "PNG")
    for mode in ("CMYK", "YCbCr", "F"):
        kind = "TIFF" if mode != "YCbCr" else "JPEG"
        yield f"mode_{mode}.{'tif' if kind == 'TIFF' else 'jpg'}", _encoded(_in_mode(mode), kind)
    for size in ((1, 1), (1, 40), (40, 1), (3, 500)):
        yield f"size_{size[0]}x{size[1]}.png", _encoded(good_image(size), "PNG")
    yield from _with_exif()
    yield "bomb.png", _png_header(60_000, 60_000)
    yield "no_width.png", _png_header(0, 10)
    yield "pages.tif", _pages()


def exif_block(orientation: int) -> bytes:
    """Return EXIF data which say, among other things, which way up their picture is: 1 to 8, or what else fits."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a maker of cameras"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.XResolution] = 72.0
    exif[ExifTags.Base.Software] = "a program"
    return exif.tobytes()


def with_exif(kind: str, block: bytes, size: tuple[int, int] = (40, 30)) -> bytes:
    """Return a picture as JPEG, PNG or TIFF with EXIF data."""
    return _encoded(good_image(size), kind, exif=block)


def _with_exif() -> Iterator[tuple[str, bytes]]:
    """Yield images whose EXIF data are right, damaged, or say what cannot be."""
    for suffix, kind in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF")):
        for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 65535):
            yield f"{suffix}_orientation_{orientation}.{suffix}", with_exif(kind, exif_block(orientation))
    block = exif_block(6)
    begin = len(b"Exif\0\0")
    for place in range(begin, begin + 62, 3):  # its head, and the entries of its directory
        changed = block[:place] + bytes([block[place] ^ 0x5A]) + block[place + 1 :]
        yield f"exif_byte_{place}.jpg", with_exif("JPEG", changed)
    for length in (0, 3, 8, 12, 30):
        yield f"exif_cut_at_{length}.png", with_exif("PNG", block[: begin + length])
    yield "exif_of_zeros.jpg", with_exif("JPEG", b"Exif\0\0" + bytes(60))


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(good_image(mode="L")).astype(np.uint16) * 257)
    return good_image(mode=mode)


def _pages() -> bytes:
    file = io.BytesIO()
    good_image().save(file, "TIFF", save_all=True, append_images=[good_image((20, 20))])
    return file.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """Return a PNG that announces a size, with next to nothing in it."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"")))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
