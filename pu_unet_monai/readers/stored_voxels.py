"""Where a header says that its voxels lie, and whether all of them are there, undamaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from isal import isal_zlib

__all__ = ["StoredVoxels", "VolumeHeader", "file_beside"]

ZLIB_OR_GZIP, GZIP = 47, 31
"""zlib's ``wbits``."""

_CHUNK = 2**20
_MOST_COMPRESSED = 1032
"""Deflate makes at most so many bytes of one."""


@dataclass(frozen=True)
class StoredVoxels:
    """The bytes of the voxels.

    Args:
        path: the file that holds them.
        offset: where in it they begin; they go to its end.
        size: how many bytes they are, decompressed.
        wbits: how they are compressed, as zlib counts it; None if they are not. Defaults to None.
    """

    path: Path
    offset: int
    size: int
    wbits: int | None = None

    @property
    def stored(self) -> int:
        """How many bytes there are in the file."""
        return self.path.stat().st_size - self.offset

    def check(self) -> None:
        """Refuse voxels that are too few, too many, or fail their checksum: ITK takes garbage for voxels then.

        Raises:
            OSError: saying what was found and expected.
        """
        if self.wbits is None:
            self._check_size(self.stored)
            return
        if self.size > _MOST_COMPRESSED * self.stored:
            raise OSError(f"its header announces {self.size} bytes of voxels, more than the file can hold")
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                self._check_size(self._decompressed(file, self.wbits))
        except cast(type[Exception], isal_zlib.error) as error:
            raise OSError(f"its compressed voxels are damaged: {error}") from None

    def _check_size(self, found: int) -> None:
        if found != self.size:
            more = " or more" if found > self.size and self.wbits is not None else ""
            raise OSError(f"it holds {found}{more} bytes of voxels, expected {self.size} by its header")

    def _decompressed(self, file: BinaryIO, wbits: int) -> int:
        """Count the bytes of a compressed stream, without keeping any, up to where there are too many."""
        stream = isal_zlib.decompressobj(wbits=wbits)
        found = 0
        while not stream.eof and found <= self.size:
            chunk = stream.unconsumed_tail or file.read(_CHUNK)
            voxels = stream.decompress(chunk, _CHUNK)
            if not chunk and not voxels:  # without more of the file there may be voxels left to come
                raise OSError("its compressed voxels are cut off")
            found += len(voxels)
        if stream.eof and (stream.unused_data or file.read(1)):
            raise OSError("there are bytes behind its compressed voxels, expected none")
        return found


@dataclass(frozen=True)
class VolumeHeader:
    """What the header of a volume says, to be compared with what ITK makes of it.

    Args:
        shape: (x, y, z, C), with C also where there is one channel.
        axes: 4 if C is an axis for ITK, such as time; 3 if it is the components of a voxel.
        dtype: type of the voxels in the file.
        affine: (4, 4) from voxels to mm in RAS; NaN where the header says nothing.
        voxels: where they are.
        guessed: what is missing of the orientation, so that it would be guessed. Defaults to "": nothing.
    """

    shape: tuple[int, int, int, int]
    axes: int
    dtype: np.dtype
    affine: np.ndarray
    voxels: StoredVoxels
    guessed: str = ""


def file_beside(header: Path, name: str) -> Path:
    """Return the file that a header names as that of its voxels.

    A header comes from anyone: it may name an ordinary file of its own folder, and nothing else of the machine.

    Raises:
        OSError: if that is no plain name, a pattern, or no ordinary file.
    """
    path = header.parent / name
    if any(character in name for character in "/\\%\0") or not path.is_file():
        raise OSError(f"its header names {name!r} as the file of its voxels, expected an ordinary file beside it")
    return path
