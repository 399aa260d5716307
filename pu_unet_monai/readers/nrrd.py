"""The headers of NRRD files, read strictly: what ITK would guess or ignore is refused."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pu_unet_monai.readers.stored_voxels import GZIP, StoredVoxels, VolumeHeader, file_beside

__all__ = ["read_nrrd_header"]

_LONGEST_LINE = 2**16
_MOST_LINES = 10_000
_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_SYNONYMS = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "axismins": "axis mins"}
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
_FROM_LPS = np.diag([-1.0, -1, 1])
_SPACES = {
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(3)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1, 1])),
    **dict.fromkeys(("left-posterior-superior", "lps"), _FROM_LPS),
}
"""Matrices that turn coordinates into RAS; of any other space ITK takes the coordinates for LPS."""

_NO_KINDS = ("domain", "space", "time", "none", "???")
_CHANNEL_KINDS = ("list", "vector", "2-vector", "3-vector", "4-vector", "3-color", "4-color", "rgb-color", "rgba-color")
_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "")
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)


def read_nrrd_header(path: Path) -> VolumeHeader:
    """Read the header of an NRRD file.

    Raises:
        OSError: if it is damaged, contradicts itself, or means what ITK does not do.
    """
    fields, end = _read_fields(path)
    _refuse_units(fields)
    for skip in ("line skip", "byte skip"):
        if fields.get(skip, "0") != "0":
            raise OSError(f"its header has {skip}: {fields[skip]}, expected 0")
    (axes,) = _integers(fields, "dimension", 1)
    sizes = _integers(fields, "sizes", axes)
    channel_axis = _channel_axis(fields, axes)
    x, y, z = (size for axis, size in enumerate(sizes) if axis != channel_axis)
    dtype = _dtype(fields)
    return VolumeHeader(
        (x, y, z, 1 if channel_axis is None else sizes[channel_axis]),
        3,
        dtype,
        _affine(fields, axes, channel_axis),
        _voxels(path, end, fields, math.prod(sizes) * dtype.itemsize),
        _guessed(fields),
    )


def _read_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields, without comments and keys of the file's own, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not _MAGIC.fullmatch(file.readline(16)):
            raise OSError("it does not begin with NRRD0001 to NRRD0005, expected an NRRD file")
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE).decode("latin-1")
            text = line.strip()
            if text == "":
                break
            name, colon, value = text.partition(": ")
            if text.startswith("#") or ":=" in name or (not colon and ":=" in text):
                continue
            name = _SYNONYMS.get(name.lower(), name.lower())
            if not colon or name in fields:
                raise OSError(f"its header has the line {text[:40]!r}, expected fields, each once")
            fields[name] = value.strip()
        return fields, file.tell()


def _refuse_units(fields: dict[str, str]) -> None:
    for name in ("space units", "units"):
        value = fields.get(name, "")
        other = [unit for unit in re.findall(r'"([^"]*)"', value) or value.split() if unit not in _MILLIMETRES]
        if other:
            raise OSError(f"its header has {name}: {value}, expected mm")


def _numbers(text: str, count: int, field: str) -> np.ndarray:
    values = re.split(r"[\s,]+", text.strip().strip("()").strip())
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        raise OSError(f"its header has {field}: {text or 'nothing'}, expected {count} number(s)")
    return numbers


def _integers(fields: dict[str, str], name: str, count: int) -> list[int]:
    numbers = _numbers(fields.get(name, ""), count, name)
    if not all(number >= 1 and number.is_integer() for number in numbers):
        raise OSError(f"its header has {name}: {fields[name]}, expected {count} whole number(s) of 1 or more")
    return [int(number) for number in numbers]


def _channel_axis(fields: dict[str, str], axes: int) -> int | None:
    """Return which axis is that of channels, if any, the other three being those of space."""
    kinds = fields.get("kinds", "").lower().split() or ["none"] * axes
    others = [axis for axis, kind in enumerate(kinds) if kind not in _NO_KINDS]
    unknown = [kinds[axis] for axis in others if kinds[axis] not in _CHANNEL_KINDS]
    if len(kinds) != axes or axes - len(others) != 3 or len(others) > 1 or unknown:
        raise OSError(
            f"its header has {axes} axes of kinds {' '.join(kinds)}, expected 3 of kind domain or space, and at most "
            "one of kind list or vector"
        )
    return others[0] if others else None


def _dtype(fields: dict[str, str]) -> np.dtype:
    name, order = fields.get("type", "nothing").lower(), fields.get("endian", "little").lower()
    if name not in _TYPES or order not in ("little", "big"):
        raise OSError(f"its header has type: {name}, endian: {order}, expected integers or floats, little or big")
    return np.dtype(_TYPES[name]).newbyteorder("<" if order == "little" else ">")


def _affine(fields: dict[str, str], axes: int, channel_axis: int | None) -> np.ndarray:
    to_ras = _SPACES.get(fields.get("space", "").lower(), _FROM_LPS)
    affine = np.eye(4)
    if "space directions" in fields:
        affine[:3, :3] = to_ras @ _directions(fields["space directions"], axes, channel_axis)
        affine[:3, 3] = to_ras @ _numbers(fields.get("space origin", "(0,0,0)"), 3, "space origin")
        return affine
    spacings = _of_space(_numbers(fields.get("spacings", ""), axes, "spacings"), channel_axis)
    affine[:3, :3] = to_ras @ np.diag(spacings)
    affine[:3, 3] = np.nan  # ITK makes it of where the axes begin, if the header says that
    return affine


def _directions(text: str, axes: int, channel_axis: int | None) -> np.ndarray:
    vectors = _VECTOR.findall(text)
    nones = [axis for axis, vector in enumerate(vectors) if vector.lower() == "none"]
    if len(vectors) != axes or nones != ([] if channel_axis is None else [channel_axis]):
        raise OSError(f"its header has space directions: {text}, expected a vector for each axis of space")
    return np.stack([_numbers(vector, 3, "space directions") for vector in _of_space(vectors, channel_axis)], axis=1)


def _of_space(values: Sequence | np.ndarray, channel_axis: int | None) -> list:
    return list(itertools.compress(values, (axis != channel_axis for axis in range(len(values)))))


def _guessed(fields: dict[str, str]) -> str:
    if "space directions" not in fields:
        return "no space directions"
    if "space" not in fields:
        return "no space"
    return "" if fields["space"].lower() in _SPACES else f"space: {fields['space']}"


def _voxels(path: Path, end: int, fields: dict[str, str], size: int) -> StoredVoxels:
    encoding = fields.get("encoding", "nothing").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise OSError(f"its header has encoding: {encoding}, expected raw or gzip")
    wbits = None if encoding == "raw" else GZIP
    if "data file" in fields:
        return StoredVoxels(file_beside(path, fields["data file"]), 0, size, wbits)
    return StoredVoxels(path, end, size, wbits)
