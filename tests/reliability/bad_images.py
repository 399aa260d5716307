"""Images that are damaged, or are not what their names say, and unusual ones that are right."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.reliability.damage import damaged

__all__ = ["bad_images", "good_image"]

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
    yield "bomb.png", _png_header(60_000, 60_000)
    yield "no_width.png", _png_header(0, 10)
    yield "pages.tif", _pages()


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
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
