"""Ways in which any file gets damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["damaged"]


def damaged(content: bytes, generator: random.Random, flips: int = 6) -> Iterator[tuple[str, bytes]]:
    """Yield a name for the damage, and the damaged content.

    Args:
        content: a good file.
        generator: chooses the places.
        flips: how many files with a changed byte, half of them in the first 400 bytes.
    """
    size = len(content)
    yield "empty", b""
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        yield f"cut_at_{share}", content[: int(size * share)]
    yield "cut_by_one_byte", content[:-1]
    yield "zeros", bytes(size)
    yield "zeros_at_the_end", content[: size // 2] + bytes(size - size // 2)
    yield "noise", generator.randbytes(size)
    yield "text", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "page", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield "begins_late", b"\0" * 16 + content
    for number in range(flips):
        place = generator.randrange(min(size, 400) if number % 2 else size)
        changed = bytes([content[place] ^ generator.randrange(1, 256)])
        yield f"byte_{number}_{place}", content[:place] + changed + content[place + 1 :]
