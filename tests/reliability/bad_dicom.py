"""DICOM series of which one slice, or each, is damaged, and unusual ones that are right."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from data_prep.dicom_layout import write_study
from tests.reliability.damage import damaged

__all__ = ["bad_series", "good_series"]

SHAPE = (14, 12, 6)
MIDDLE = 2
"""The slice that is damaged; it would be missed."""

Slices = list[bytes]

_OF_ONE: dict[str, tuple[object, ...]] = {
    "ImagePositionPatient": ([0, 0, 0], ["1", "2"], [1e30, 0, 0], None, ["nan", "0", "0"], [6.0, 5.0, 3.1]),
    "ImageOrientationPatient": ([0, 0, 0, 0, 0, 0], [1, 0, 0], [1, 0, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0], None),
    "PixelSpacing": ([0, 0], [1], [-1, 1], [2, 2], ["nan", "1"], None),
    "Rows": (0, 1, 60000, 11, None),
    "Columns": (0, 28, 13, None),
    "BitsAllocated": (0, 1, 8, 12, 32, None),
    "BitsStored": (8, 17, 0),
    "PixelRepresentation": (0, 7, None),
    "SamplesPerPixel": (3, 0),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "PALETTE COLOR", "", None),
    "RescaleSlope": (0, "nan", -1, "1e300"),
    "RescaleIntercept": ("inf", -1000),
    "NumberOfFrames": (0, 2, -1, 6),
    "SeriesInstanceUID": ("", "1.2.3", "x", None),
    "StudyInstanceUID": ("1.2.3", None),
    "SOPInstanceUID": ("", "1.2.3", None),
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.3", None),
    "Modality": ("SEG", "CT", "", None),
    "FrameOfReferenceUID": ("1.2.3", None),
    "SeriesNumber": (10**9, None),
    "InstanceNumber": (1, -5, None),
    "PixelData": (b"", b"\1\2", None),
    "SpecificCharacterSet": ("ISO_IR 100", "no such set"),
}
_OF_ALL: dict[str, tuple[object, ...]] = {
    "ImageOrientationPatient": (
        *([0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, -1]),
        *([0.9, 0.1, 0, 0, 1, 0], ["nan"] * 6, [0, 1, 0, 1, 0, 0]),
    ),
    "PixelSpacing": ([0, 0], [1e-9, 1], [1e9, 1e9], [-1, -1], [0.5, 3]),
    "ImagePositionPatient": ([0, 0, 0], None),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "YBR_FULL"),
    "BitsStored": (12,),
    "PixelRepresentation": (0,),
    "RescaleSlope": (2, 0, -1, "nan", "1e300"),
    "RescaleIntercept": (-1024,),
    "Modality": ("CT", ""),
    "NumberOfFrames": (1, 2),
    "SeriesNumber": (None,),
    "FrameOfReferenceUID": (None,),
    "SliceThickness": (0, -3),
    "SpacingBetweenSlices": (0, -3),
    "PatientName": ("", "\\\\", "x" * 100),
}


def good_series(folder: Path) -> Slices:
    """Write a series of one sequence and return the content of its files, in the order of the slices."""
    voxels = np.random.default_rng(0).integers(0, 900, SHAPE, dtype=np.int16)
    affine = np.array([[-1.0, 0, 0, 6], [0, -1.5, 0, 5], [0, 0, 2.0, -3], [0, 0, 0, 1]])
    write_study(folder, "P1", {"AX T1": voxels}, affine)
    return [path.read_bytes() for path in sorted(folder.rglob("*.dcm"))]


def bad_series(good: Slices) -> Iterator[tuple[str, Slices]]:
    """Yield a name for the damage, and the files of the series; each is an error, or right.

    Args:
        good: as :func:`good_series` returns them.
    """
    generator = random.Random(2)
    for name, bad in damaged(good[MIDDLE], generator, flips=60):
        yield f"one_{name}", _replaced(good, bad)
    for keyword, values in _OF_ONE.items():
        for number, value in enumerate(values):
            yield f"one_{keyword}_{number}", _replaced(good, _edited(good[MIDDLE], _setter(keyword, value)))
    for keyword, values in _OF_ALL.items():
        for number, value in enumerate(values):
            yield f"all_{keyword}_{number}", [_edited(content, _setter(keyword, value)) for content in good]
    for syntax in (JPEGBaseline8Bit, JPEG2000Lossless, RLELossless, ExplicitVRBigEndian, ImplicitVRLittleEndian):
        yield f"one_says_{syntax.name}", _replaced(good, _relabelled(good[MIDDLE], syntax))
    yield from _sets(good)


def _sets(good: Slices) -> Iterator[tuple[str, Slices]]:
    """Yield series of which the slices are right, and their set may not be."""
    new_uid = _setter("SOPInstanceUID", generate_uid(entropy_srcs=["copy"]))
    compressed = [_edited(content, lambda dataset: dataset.compress(RLELossless)) for content in good]
    yield "missing_in_the_middle", [*good[:MIDDLE], *good[MIDDLE + 1 :]]
    yield "one_slice", good[:1]
    yield "two_slices", good[:2]
    yield "one_twice", [*good, good[MIDDLE]]
    yield "one_twice_with_another_uid", [*good, _edited(good[MIDDLE], new_uid)]
    yield "in_reverse", good[::-1]
    yield "shuffled", random.Random(3).sample(good, len(good))
    yield "compressed", compressed
    yield "one_compressed", _replaced(good, compressed[MIDDLE])
    yield "one_compressed_and_cut", _replaced(good, compressed[MIDDLE][:-40])
    number = b"\x20\x00\x11\x00IS\x02\x00"  # (0020,0011)
    yield "one_SeriesNumber_x", _replaced(good, good[MIDDLE].replace(number + b"1 ", number + b"x "))
    two = b"\x20\x00\x11\x00IS\x04\x001\\2 "
    yield "all_SeriesNumber_two", [content.replace(number + b"1 ", two) for content in good]
    yield "with_a_report", [*good, _edited(good[0], _without("Rows", "PixelData"))]
    yield "tilted", [_edited(content, _shifted(0.8 * index)) for index, content in enumerate(good)]


def _replaced(good: Slices, bad: bytes) -> Slices:
    return [*good[:MIDDLE], bad, *good[MIDDLE + 1 :]]


def _edited(content: bytes, edit: Callable[[Dataset], object]) -> bytes:
    """Return a file with changed elements, written without a check."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    edit(dataset)
    written = io.BytesIO()
    dataset.save_as(written)
    return written.getvalue()


def _setter(keyword: str, value: object) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            with pydicom.config.disable_value_validation():
                setattr(dataset, keyword, copy.copy(value))

    return edit


def _without(*keywords: str) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return edit


def _shifted(millimetres: float) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y + millimetres, z]

    return edit


def _relabelled(content: bytes, syntax: str) -> bytes:
    """Return a file whose header claims another encoding than its elements have."""
    meta = pydicom.dcmread(io.BytesIO(content)).file_meta
    meta.TransferSyntaxUID = syntax
    written = io.BytesIO()
    write_file_meta_info(written, meta)
    begin = 128 + len(b"DICM")
    old = begin + 12 + int.from_bytes(content[begin + 8 : begin + 12], "little")  # (0002,0000): the length of the rest
    return content[:begin] + written.getvalue() + content[old:]
