"""Reading a DICOM series as a volume."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import torch
from highdicom.spatial import get_volume_positions
from monai.data import MetaTensor
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut
from pydicom.uid import generate_uid
from pydicom.valuerep import format_number_as_ds

from pu_unet_monai.dicom.series import Series
from pu_unet_monai.errors import UserError, join_some

__all__ = ["SeriesVolume", "read_series"]

_ORIENTATION_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-4
_AXES_TOLERANCE = 1e-2
_GEOMETRY = {"ImageOrientationPatient": 6, "ImagePositionPatient": 3, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
_RESCALING = {"RescaleSlope": 1, "RescaleIntercept": 1}
"""How many numbers each has; rescaling may be missing."""
_NEEDED = (*_GEOMETRY, "PixelData")
_AS_MEASURED: dict[str, Any] = {"apply_real_world_transform": False, "apply_presentation_lut": False}
"""By slope and intercept, not as a display would invert them."""


@dataclass(frozen=True)
class SeriesVolume:
    """A series with its pixels.

    Args:
        datasets: the slices without duplicates, in the order of the third axis; or the one multi-frame object.
        volume: the voxels (x, y, z), x along the rows, y along the columns, z along their normal, with their place in
            the patient's coordinates (LPS, mm).
        notes: what was noticed, such as duplicate slices; one line each.
    """

    datasets: list[Dataset]
    volume: highdicom.Volume
    notes: list[str]

    def to_tensor(self) -> MetaTensor:
        """Return the voxels (1, x, y, z) with the affine to RAS in mm, as MONAI has them."""
        affine = torch.from_numpy(self.volume.get_affine("RAS"))
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(self.volume.array))[None], affine=affine)


def read_series(series: Series) -> SeriesVolume:
    """Read all slices of a series, sort them along their normal, and rescale them to the values they stand for.

    Compressed pixels are decoded. The same slice in two files counts once.

    Args:
        series: the files.

    Raises:
        UserError: naming the series, if a file cannot be read or decoded, slices differ in orientation, size or
            spacing, several different slices lie in one place, slices are missing, or it is no volume of grey values.
    """
    try:
        return _read_volume(series)
    except UserError:
        raise
    except Exception as error:  # pydicom reads a value when it is asked for, and fails in many ways
        raise UserError(f"{series.title}: no readable volume ({_reason(error)}); send or export it again.") from error


def _read_volume(series: Series) -> SeriesVolume:
    datasets = [_read(path, series) for path in series.files]
    for dataset in datasets:
        if not dataset.get("FrameOfReferenceUID"):  # of its own, so that it is not taken for another series'
            dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["no frame of reference", series.uid])
    if any(int(dataset.get("NumberOfFrames") or 1) > 1 for dataset in datasets):
        return _read_multi_frame(datasets, series)
    _check_complete(datasets, series)
    datasets, notes = _without_copies(datasets, series)
    _check_alike(datasets, series)
    _square_up(datasets)
    _check_places(datasets, series)
    _decode(datasets, series)
    datasets = _in_order(datasets)
    volume = _stack(datasets)
    _check_values(volume, series)
    return SeriesVolume(datasets, volume, notes)


def _read(path: Path, series: Series) -> Dataset:
    try:
        return pydicom.dcmread(path)
    except (InvalidDicomError, OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{series.title}: {path.name} cannot be read ({_reason(error)}); export it again.") from error


def _read_multi_frame(datasets: Sequence[Dataset], series: Series) -> SeriesVolume:
    if len(datasets) > 1:
        raise UserError(f"{series.title}: several multi-frame objects; give the one wanted in a folder of its own.")
    try:
        image = highdicom.Image.from_dataset(datasets[0], copy=False)
        volume = image.get_volume(dtype=np.float32, **_AS_MEASURED)
    except Exception as error:
        raise UserError(
            f"{series.title}: its frames are no regular volume of grey values ({_reason(error)}); export the wanted "
            "frames as a series of their own."
        ) from error
    _check_values(volume, series)
    turned = volume.permute_spatial_axes([2, 1, 0]).ensure_handedness("RIGHT_HANDED", flip_axis=2)
    return SeriesVolume(list(datasets), turned, [])


def _check_complete(datasets: Sequence[Dataset], series: Series) -> None:
    missing = [keyword for keyword in _NEEDED if any(not _has(dataset, keyword) for dataset in datasets)]
    if missing:
        raise UserError(
            f"{series.title}: slices without {join_some(missing)}: it is no volume; choose another with --series, or "
            "export it again."
        )
    problems = [f"{_name(dataset)} has {problem}" for dataset in datasets if (problem := _wrong_number(dataset))]
    if problems:
        raise UserError(f"{series.title}: {join_some(problems, most=3)}; send or export it again.")


def _has(dataset: Dataset, keyword: str) -> bool:
    return keyword in dataset and not dataset[keyword].is_empty


def _wrong_number(dataset: Dataset) -> str | None:
    """Return what is wrong with the numbers that say where a slice lies and what its voxels stand for, or None."""
    numbers = {}
    for keyword, count in {**_GEOMETRY, **_RESCALING}.items():
        value = dataset.get(keyword, 1)
        try:
            numbers[keyword] = np.array(value, float).ravel()
        except (ValueError, TypeError):
            numbers[keyword] = np.array([])
        if numbers[keyword].size != count or not np.isfinite(numbers[keyword]).all():
            return f"{keyword} {value}, expected {count} number(s)"
    if numbers["RescaleSlope"] == 0:
        return "RescaleSlope 0, expected another number"
    row, column = numbers["ImageOrientationPatient"].reshape(2, 3)
    lengths = np.array([row @ row, column @ column, 1 + abs(row @ column)])
    if np.abs(lengths - 1).max() > _AXES_TOLERANCE:
        found = dataset.ImageOrientationPatient
        return f"ImageOrientationPatient {found}, expected two perpendicular directions of length 1"
    if min(*numbers["PixelSpacing"], *numbers["Rows"], *numbers["Columns"]) <= 0:
        size = f"{numbers['Columns'][0]:g} x {numbers['Rows'][0]:g} pixels of {dataset.PixelSpacing} mm"
        return f"{size}, expected more than 0 of each"
    return None


def _name(dataset: Dataset) -> str:
    return Path(str(dataset.filename)).name


def _without_copies(datasets: Sequence[Dataset], series: Series) -> tuple[list[Dataset], list[str]]:
    """Drop slices that are there twice with the same pixels in the same place."""
    distinct: dict[tuple, Dataset] = {}
    for dataset in datasets:
        key = (tuple(map(float, dataset.ImagePositionPatient)), hashlib.sha256(dataset.PixelData).digest())
        distinct.setdefault(key, dataset)
    copies = len(datasets) - len(distinct)
    notes = [f"{series.title}: {copies} slice(s) there twice, the copies were left out"] if copies else []
    return list(distinct.values()), notes


def _check_alike(datasets: Sequence[Dataset], series: Series) -> None:
    orientations = np.array([dataset.ImageOrientationPatient for dataset in datasets], float)
    kinds = len(np.unique(np.round(orientations / _ORIENTATION_TOLERANCE), axis=0))
    if np.abs(orientations - orientations[0]).max() > _ORIENTATION_TOLERANCE:
        raise UserError(
            f"{series.title}: slices in {kinds} orientations, expected one (a localizer?); choose another with "
            "--series."
        )
    spacings = np.array([dataset.PixelSpacing for dataset in datasets], float)
    if not np.allclose(spacings, spacings[0], rtol=_SPACING_TOLERANCE):
        found = sorted({f"{row:g} x {column:g} mm" for row, column in spacings})
        raise UserError(f"{series.title}: pixels of different sizes ({join_some(found)}); export the series again.")
    sizes = sorted({f"{dataset.Columns}x{dataset.Rows}" for dataset in datasets})
    if len(sizes) > 1:
        raise UserError(f"{series.title}: slices of different sizes ({join_some(sizes)}); export the series again.")
    if len({str(dataset.FrameOfReferenceUID) for dataset in datasets}) > 1:
        raise UserError(f"{series.title}: slices of several frames of reference; export the series again.")
    if not {str(dataset.get("PhotometricInterpretation")) for dataset in datasets} <= {"MONOCHROME1", "MONOCHROME2"}:
        raise UserError(
            f"{series.title}: pixels in colours or of no known kind (PhotometricInterpretation), expected grey values; "
            "export it as such."
        )


def _square_up(datasets: Sequence[Dataset]) -> None:
    """Give all slices one orientation of exactly perpendicular axes, which headers store rounded."""
    row, column = np.mean([np.array(d.ImageOrientationPatient, float) for d in datasets], axis=0).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    orientation = [*row, *(column / np.linalg.norm(column))]
    for dataset in datasets:
        dataset.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in orientation]
        dataset.PixelSpacing = datasets[0].PixelSpacing


def _check_places(datasets: Sequence[Dataset], series: Series) -> None:
    """Refuse slices that do not fill a box without gaps."""
    if len(datasets) < 2:
        raise UserError(f"{series.title}: one slice, expected a volume of several.")
    positions = np.array([dataset.ImagePositionPatient for dataset in datasets], float)
    orientation = [float(value) for value in datasets[0].ImageOrientationPatient]
    places = len(np.unique(positions, axis=0))
    if places < len(positions):
        raise UserError(
            f"{series.title}: {len(positions)} different slices in {places} places (several echoes or times?); export "
            "the wanted one as a series of its own."
        )
    if _shear(positions, orientation) > max(float(value) for value in datasets[0].PixelSpacing) / 2:
        raise UserError(
            f"{series.title}: its slices are not stacked along their normal (tilted gantry?); resample it to a regular "
            "volume first."
        )
    spacing, _ = get_volume_positions(positions.tolist(), orientation)
    if spacing is None:
        _name_gaps(positions, orientation, series)


def _shear(positions: NDArray, orientation: Sequence[float]) -> float:
    """Return how far, in mm, slices lie beside the normal through the first."""
    normal = np.cross(orientation[:3], orientation[3:])
    spans = positions - positions[0]
    return float(np.linalg.norm(spans - np.outer(spans @ normal, normal), axis=1).max())


def _name_gaps(positions: NDArray, orientation: Sequence[float], series: Series) -> None:
    spacing, indices = get_volume_positions(positions.tolist(), list(orientation), allow_missing_positions=True)
    if spacing is None or indices is None:
        raise UserError(
            f"{series.title}: its slices are not evenly spaced (a mixture of series?); export it again, or resample it "
            "to a regular volume first."
        )
    missing = sorted(set(range(max(indices) + 1)) - set(indices))
    lowest = positions[indices.index(0)]
    step = (positions[indices.index(max(indices))] - lowest) / max(indices)
    gaps = [str([round(float(x), 1) for x in lowest + number * step]) for number in missing]
    raise UserError(
        f"{series.title}: {len(missing)} slice(s) missing, at {join_some(gaps, most=3)} mm; send or export it again."
    )


def _decode(datasets: Sequence[Dataset], series: Series) -> None:
    for dataset in datasets:
        try:
            _ = dataset.pixel_array  # which keeps what it has decoded
        except Exception as error:  # decoders fail in many ways
            syntax = dataset.file_meta.TransferSyntaxUID
            packed = syntax.is_transfer_syntax and syntax.is_compressed
            advice = f"compressed as {syntax.name}: decompress them with gdcmconv --raw" if packed else ""
            raise UserError(
                f"{series.title}: the pixels of {_name(dataset)} cannot be decoded ({_reason(error)}); "
                f"{advice or 'send or export it again'}."
            ) from error


def _in_order(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Sort slices by their place along their normal."""
    normal = np.cross(*np.array(datasets[0].ImageOrientationPatient, float).reshape(2, 3))
    return sorted(datasets, key=lambda dataset: float(np.array(dataset.ImagePositionPatient, float) @ normal))


def _stack(datasets: Sequence[Dataset]) -> highdicom.Volume:
    """Put decoded slices together in their order (DICOM PS3.3 C.7.6.2.1.1).

    ``highdicom.get_volume_from_series`` does the same, and looks each slice's kind up in the standard's tables, which
    takes most of the time of reading a series.
    """
    row, column = np.array(datasets[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    first, last = (np.array(datasets[index].ImagePositionPatient, float) for index in (0, -1))
    row_spacing, column_spacing = (float(value) for value in datasets[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * column_spacing, column * row_spacing
    affine[:3, 2], affine[:3, 3] = normal * ((last - first) @ normal) / (len(datasets) - 1), first
    voxels = np.stack([_values(dataset).T for dataset in datasets], axis=-1)
    return highdicom.Volume(voxels, affine, "PATIENT", datasets[0].FrameOfReferenceUID)


def _values(dataset: Dataset) -> NDArray[np.float32]:
    """Return what the pixels of a slice stand for; a slope without an intercept counts too, other than in pydicom."""
    if "ModalityLUTSequence" in dataset:
        return apply_modality_lut(dataset.pixel_array, dataset).astype(np.float32)
    slope, intercept = (float(dataset.get(*pair)) for pair in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return (dataset.pixel_array * slope + intercept).astype(np.float32)


def _check_values(volume: highdicom.Volume, series: Series) -> None:
    if volume.array.ndim != 3 or not np.isfinite(volume.array).all():
        raise UserError(f"{series.title}: holds colours or values that are no numbers, expected grey values.")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
