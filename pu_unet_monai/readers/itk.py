"""MONAI's reader of MHA and NRRD files, with what ITK overlooks in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ITKReader
from monai.utils import MetaKeys, ensure_tuple, optional_import

from pu_unet_monai.readers.metaimage import read_metaimage_header
from pu_unet_monai.readers.nrrd import read_nrrd_header
from pu_unet_monai.readers.stored_voxels import VolumeHeader

itk, _ = optional_import("itk", allow_namespace_pkg=True)  # as MONAI does: it is slow to import

__all__ = ["NO_ORIENTATION", "CheckedITKReader"]

NO_ORIENTATION = "no_orientation"
"""Key of the metadata under which stands what a header lacks to tell left from right; empty if it lacks nothing."""

_TOLERANCE = 1e-3
_HEADERS: dict[str, tuple[Callable[[Path], VolumeHeader], str]] = {
    **dict.fromkeys((".mha", ".mhd"), (read_metaimage_header, "MetaImageIO")),
    **dict.fromkeys((".nrrd", ".nhdr"), (read_nrrd_header, "NrrdImageIO")),
}
_PIXELS = {
    **{"i1": "SS", "i2": "SS", "i4": "SI", "i8": "D"},
    **{"u1": "UC", "u2": "US", "u4": "UI", "u8": "ULL", "f4": "F", "f8": "D"},
}
_OF_MANY_DIGITS = ("i4", "u4", "i8", "u8", "f8")
"""Types of which single precision does not hold all values."""


class CheckedITKReader(ITKReader):
    """MONAI's reader by ITK, for MHA, MHD, NRRD and NHDR alone. It differs in five ways.

    - Headers are read a second time, strictly, by this package, and shape, channels and affine must agree with what
      ITK has read.
    - Voxels must be as many as the header says, and pass the checksum where they are compressed: ITK takes what is in
      memory for voxels then, and says so only on the terminal.
    - Voxels are looked for in the file itself, or in one that lies beside it.
    - Voxels of several channels, and of types that ITK's Python does not know, are read as wider ones.
    - What a header lacks of the orientation is noted in the metadata.

    Raises:
        OSError: if the file is not of these formats, damaged, or its header means what ITK does not do.
    """

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Read one file."""
        (name,) = ensure_tuple(data)
        path = Path(name)
        if path.suffix.lower() not in _HEADERS:
            raise OSError("expected a file whose name ends with .nii.gz, .nii, .mha or .nrrd")
        read_header, image_io = _HEADERS[path.suffix.lower()]
        self._header = read_header(path)
        self._header.voxels.check()
        reader = itk.ImageFileReader[_image_type(self._header)].New(FileName=str(path), **kwargs)
        reader.SetImageIO(getattr(itk, image_io).New())  # whose header was read, whatever the file may look like
        try:
            reader.Update()
        except RuntimeError as error:
            raise OSError(_reason(error)) from None
        return reader.GetOutput()

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """Return the voxels of an image, and the metadata."""
        array, meta = super().get_data(img)
        shape = (*array.shape, 1)[:4]
        if shape != self._header.shape:
            raise OSError(f"its header announces {self._header.shape} voxels, ITK reads {shape}")
        affine, found = self._header.affine, meta[MetaKeys.AFFINE]
        if not np.allclose(np.where(np.isnan(affine), found, affine), found, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise OSError("its header means another affine than ITK reads")
        meta[NO_ORIENTATION] = self._header.guessed
        return array, meta


def _image_type(header: VolumeHeader) -> Any:
    """Return ITK's type of image; not all types of voxels have one in its Python, so that some become wider ones."""
    kind = header.dtype.str[1:]
    if header.shape[3] > 1 and header.axes == 3:
        return itk.VectorImage[itk.D if kind in _OF_MANY_DIGITS else itk.F, 3]
    return itk.Image[getattr(itk, _PIXELS[kind]), header.axes]


def _reason(error: RuntimeError) -> str:
    """Return what ITK says went wrong, without where in its own source that was."""
    lines = str(error).splitlines()
    line = next((line for line in lines if "ERROR" in line), lines[0] if lines else type(error).__name__)
    return re.sub(r"^.*ERROR: \w+\(0x[0-9a-f]+\): ", "", line)
