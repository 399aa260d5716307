"""MHA and NRRD files read with nothing but NumPy and zlib, to judge what ITK and this package make of them."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_alone"]

_METAIMAGE = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_NRRD = {"short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
_NRRD |= {"uchar": "u1", "int8": "i1", "int16": "i2", "int32": "i4", "longlong": "i8", "ulonglong": "u8"}


def read_alone(path: Path) -> tuple[NDArray, NDArray]:
    """Return voxels (C, x, y, z) and the affine in RAS; any error means that the file is not as it should be."""
    return _metaimage(path) if path.suffix in (".mha", ".mhd") else _nrrd(path)


def _metaimage(path: Path) -> tuple[NDArray, NDArray]:
    content = path.read_bytes()
    header, name, rest = re.split(rb"^ElementDataFile *= *(\S+) *\n", content, maxsplit=1, flags=re.MULTILINE)
    pairs = [[part.strip() for part in line.split("=", 1)] for line in _lines(header)]
    fields = dict(pairs)
    assert len(fields) == len(pairs)
    data = rest if name.upper() == b"LOCAL" else (path.parent / name.decode()).read_bytes()
    if fields.get("CompressedData") == "True":
        data = zlib.decompress(data, 47)
    axes = int(fields["NDims"])
    sizes = [int(float(size)) for size in fields["DimSize"].split()]
    channels = int(float(fields.get("ElementNumberOfChannels", "1")))
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB")) == "True"
    voxels = np.frombuffer(data, (">" if big else "<") + _METAIMAGE[fields["ElementType"]])
    voxels = voxels.reshape(channels, *sizes[:3], *sizes[3:], order="F")
    if axes == 4:
        voxels = np.moveaxis(voxels[0], -1, 0)

    def of_space(*names: str, default: str = "") -> NDArray:
        text = next((fields[name] for name in names if name in fields), default)
        numbers = np.array(text.split(), float)
        return numbers.reshape(axes, axes)[:3, :3] if len(numbers) == axes * axes else numbers[:3]

    identity = " ".join(map(str, np.eye(axes).ravel()))
    matrix = of_space("TransformMatrix", "Rotation", "Orientation", default=identity)
    spacing = of_space("ElementSpacing", "ElementSize")
    origin = of_space("Offset", "Position", "Origin", default="0 " * axes)
    affine = np.eye(4)
    for axis in range(3):
        affine[:3, axis] = matrix[axis] * spacing[axis]
    affine[:3, 3] = origin
    affine[:2] *= -1
    return voxels, affine


def _lines(header: bytes) -> list[str]:
    """Return the lines of a header; ``splitlines`` would also end them at letters such as a vertical tab."""
    return header.decode("latin-1").rstrip("\n").replace("\r\n", "\n").split("\n")


def _nrrd(path: Path) -> tuple[NDArray, NDArray]:
    content = path.read_bytes()
    header, data = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
    lines = [line for line in _lines(header)[1:] if not line.startswith("#")]
    fields = {name.lower(): value.strip() for name, value in (line.split(": ", 1) for line in lines if ": " in line)}
    if "data file" in fields:
        data = (path.parent / fields["data file"]).read_bytes()
    if fields["encoding"].lower() in ("gz", "gzip"):
        data = gzip.decompress(data)
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    sizes = [int(float(size)) for size in fields["sizes"].split()]
    voxels = np.frombuffer(data, order + _NRRD[fields["type"].lower()]).reshape(sizes, order="F")
    kinds = fields.get("kinds", "").lower().split()
    channel = next((axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space", "none", "???")), None)
    voxels = voxels[None] if channel is None else np.moveaxis(voxels, channel, 0)
    affine = np.eye(4)
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)", fields["space directions"] + fields.get("space origin", "(0,0,0)"))
        affine[:3] = np.array([[float(number) for number in vector.split(",")] for vector in vectors]).T
    else:
        spacings = [float(spacing) for spacing in fields["spacings"].split()]
        affine[:3, :3] = np.diag([spacing for axis, spacing in enumerate(spacings) if axis != channel])
    space = fields.get("space", "LPS").lower()
    affine[0] *= 1 if space in ("ras", "right-anterior-superior") else -1
    affine[1] *= 1 if space in ("ras", "right-anterior-superior", "las", "left-anterior-superior") else -1
    return voxels, affine
