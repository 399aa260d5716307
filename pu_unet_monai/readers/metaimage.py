"""The headers of MetaImage files (MHA, MHD), read strictly: what ITK would guess or ignore is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from pu_unet_monai.readers.stored_voxels import ZLIB_OR_GZIP, StoredVoxels, VolumeHeader, file_beside

__all__ = ["read_metaimage_header"]

_LONGEST_LINE = 2**16
_MOST_LINES = 10_000
_FIELD = re.compile(r"([^\s=:]+)\s*=[^\S\n]*(.*?)[^\S\n]*\n")
_TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_ORIGINS = ("Offset", "Position", "Origin")
_LOCAL = ("LOCAL", "Local", "local")
_BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_EXPECTED: dict[str, tuple[str, ...]] = {
    "ObjectType": ("Image",),
    "BinaryData": ("True",),
    "CompressedData": ("True", "False"),
    "BinaryDataByteOrderMSB": ("True", "False"),
    "ElementByteOrderMSB": ("True", "False"),
    "DistanceUnits": ("mm", "?"),
    "HeaderSize": ("0",),
    "ElementToIntensityFunctionSlope": ("1",),
    "ElementToIntensityFunctionOffset": ("0",),
}
"""What fields may say, if they are there; of others ITK would read other voxels than the header means, or none."""


def read_metaimage_header(path: Path) -> VolumeHeader:
    """Read the header of an MHA or MHD file.

    Raises:
        OSError: if it is damaged, contradicts itself, or means what ITK does not do.
    """
    fields, end = _read_fields(path)
    for name, expected in _EXPECTED.items():
        if fields.get(name, expected[0]) not in expected:
            raise OSError(f"its header has {name} = {fields[name]}, expected {' or '.join(expected)}")
    for names in (_MATRICES, _ORIGINS, _BYTE_ORDERS):
        if len(found := [name for name in names if name in fields]) > 1:
            raise OSError(f"its header has both {found[0]} and {found[1]}, expected one of them")
    (axes,) = _integers(fields, "NDims", 1)
    if axes not in (3, 4):
        raise OSError(f"its header has NDims = {axes}, expected 3 or 4")
    sizes = _integers(fields, "DimSize", axes)
    (channels,) = _integers(fields, "ElementNumberOfChannels", 1) if "ElementNumberOfChannels" in fields else [1]
    if axes == 4 and channels > 1:
        raise OSError(f"its header has four axes and {channels} channels, expected one of the two")
    dtype = _dtype(fields)
    x, y, z, *times = sizes
    return VolumeHeader(
        (x, y, z, times[0] if times else channels),
        axes,
        dtype,
        _affine(fields, axes),
        _voxels(path, end, fields, math.prod(sizes) * channels * dtype.itemsize),
        "" if any(name in fields for name in _MATRICES) else "no TransformMatrix",
    )


def _read_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields up to the last, ElementDataFile, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE).decode("latin-1")
            match = _FIELD.fullmatch(line)
            if not match:
                break
            name, value = match.groups()
            if name in fields:
                raise OSError(f"its header has {name} twice")
            fields[name] = value
            if name != "ElementDataFile":
                continue
            if value in _LOCAL and "\r" in line:
                raise OSError("its header was written with line ends of Windows, behind which ITK finds no voxels")
            return fields, file.tell()
    raise OSError(f"its header has the line {line[:40]!r}, expected fields, the last of them ElementDataFile")


def _numbers(fields: dict[str, str], name: str, count: int) -> np.ndarray:
    values = fields.get(name, "").split()
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.empty(0)
    if len(values) != count or len(numbers) != count or not np.isfinite(numbers).all():
        raise OSError(f"its header has {name} = {fields.get(name, 'nothing')}, expected {count} number(s)")
    return numbers


def _integers(fields: dict[str, str], name: str, count: int) -> list[int]:
    numbers = _numbers(fields, name, count)
    if not all(number >= 1 and number.is_integer() for number in numbers):
        raise OSError(f"its header has {name} = {fields[name]}, expected {count} whole number(s) of 1 or more")
    return [int(number) for number in numbers]


def _dtype(fields: dict[str, str]) -> np.dtype:
    name = fields.get("ElementType", "nothing")
    if name not in _TYPES:
        raise OSError(f"its header has ElementType = {name}, expected one of {', '.join(_TYPES)}")
    big = "True" in (fields.get(order) for order in _BYTE_ORDERS)
    return np.dtype(_TYPES[name]).newbyteorder(">" if big else "<")


def _affine(fields: dict[str, str], axes: int) -> np.ndarray:
    """Return the affine in RAS; the file's is in LPS, where a row of the matrix is the direction of an axis."""
    sizes = fields.keys() & {"ElementSpacing", "ElementSize"}
    spacing = _numbers(fields, "ElementSize" if sizes == {"ElementSize"} else "ElementSpacing", axes)
    origin, directions = np.zeros(axes), np.eye(axes)
    for name in set(_ORIGINS) & fields.keys():
        origin = _numbers(fields, name, axes)
    for name in set(_MATRICES) & fields.keys():
        directions = _numbers(fields, name, axes * axes).reshape(axes, axes)
    if directions[3:, :3].any() or directions[:3, 3:].any():
        raise OSError("its header turns the fourth axis into space, expected channels or times")
    affine = np.eye(4)
    affine[:3, :3] = directions[:3, :3].T * spacing[:3]
    affine[:3, 3] = origin[:3]
    return np.diag([-1.0, -1, 1, 1]) @ affine


def _voxels(path: Path, end: int, fields: dict[str, str], size: int) -> StoredVoxels:
    name = fields["ElementDataFile"]
    local = name in _LOCAL
    file, offset = (path, end) if local else (file_beside(path, name), 0)
    if fields.get("CompressedData") != "True":
        return StoredVoxels(file, offset, size)
    voxels = StoredVoxels(file, offset, size, ZLIB_OR_GZIP)
    if (local or "CompressedDataSize" in fields) and fields.get("CompressedDataSize") != str(voxels.stored):
        raise OSError(
            f"its header has CompressedDataSize = {fields.get('CompressedDataSize', 'nothing')}, expected "
            f"{voxels.stored}, which there are"
        )
    return voxels
