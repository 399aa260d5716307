"""Reading a DICOM series as a volume."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import torch
from highdicom.spatial import get_volume_positions
from monai.data import MetaTensor
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from pu_unet_monai.dicom.series import Series
from pu_unet_monai.errors import UserError, join_some

__all__ = ["SeriesVolume", "read_series"]

_ORIENTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SeriesVolume:
    """A series with its pixels.

    Args:
        datasets: the slices without duplicates, or the one multi-frame object.
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
    datasets = [_read(path, series) for path in series.files]
    if any(int(dataset.get("NumberOfFrames") or 1) > 1 for dataset in datasets):
        return _read_multi_frame(datasets, series)
    datasets, notes = _without_copies(datasets, series)
    _check_alike(datasets, series)
    _check_places(datasets, series)
    try:
        volume = highdicom.get_volume_from_series(datasets, dtype=np.float32, apply_real_world_transform=False)
    except Exception as error:  # decoders fail in many ways
        raise UserError(
            f"{series.title}: its pixels cannot be decoded ({_reason(error)}){_syntax(datasets)}."
        ) from error
    return SeriesVolume(datasets, _turned(volume, series), notes)


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
        volume = image.get_volume(dtype=np.float32, apply_real_world_transform=False)
    except Exception as error:
        raise UserError(
            f"{series.title}: its frames are no regular volume of grey values ({_reason(error)}); export the wanted "
            "frames as a series of their own."
        ) from error
    return SeriesVolume(list(datasets), _turned(volume, series), [])


def _without_copies(datasets: Sequence[Dataset], series: Series) -> tuple[list[Dataset], list[str]]:
    """Drop slices that are there twice with the same pixels in the same place."""
    if any("ImagePositionPatient" not in dataset or "PixelData" not in dataset for dataset in datasets):
        raise UserError(
            f"{series.title}: slices without position or pixels; it is no volume: choose another with --series."
        )
    distinct: dict[tuple, Dataset] = {}
    for dataset in datasets:
        key = (tuple(map(float, dataset.ImagePositionPatient)), hashlib.sha256(dataset.PixelData).digest())
        distinct.setdefault(key, dataset)
    copies = len(datasets) - len(distinct)
    notes = [f"{series.title}: {copies} slices are there twice, the copies were left out"] if copies else []
    return list(distinct.values()), notes


def _check_alike(datasets: Sequence[Dataset], series: Series) -> None:
    orientations = np.array([dataset.get("ImageOrientationPatient", [0] * 6) for dataset in datasets], float)
    kinds = len(np.unique(np.round(orientations / _ORIENTATION_TOLERANCE), axis=0))
    if np.abs(orientations - orientations[0]).max() > _ORIENTATION_TOLERANCE:
        raise UserError(
            f"{series.title}: slices in {kinds} orientations, expected one (a localizer?); choose another with "
            "--series."
        )
    for keyword, what in (("Rows", "rows"), ("Columns", "columns"), ("PixelSpacing", "pixel spacings")):
        values = {str(dataset.get(keyword)) for dataset in datasets}
        if len(values) > 1:
            raise UserError(
                f"{series.title}: slices of different {what} ({join_some(sorted(values))}); export the series again."
            )
    colours = {str(dataset.get("PhotometricInterpretation")) for dataset in datasets}
    if not colours <= {"MONOCHROME1", "MONOCHROME2"}:
        raise UserError(f"{series.title}: pixels are {join_some(sorted(colours))}, expected grey values.")


def _check_places(datasets: Sequence[Dataset], series: Series) -> None:
    """Refuse slices that do not fill a box without gaps."""
    positions = [[float(value) for value in dataset.ImagePositionPatient] for dataset in datasets]
    orientation = [float(value) for value in datasets[0].ImageOrientationPatient]
    if len(datasets) < 2:
        raise UserError(f"{series.title}: one slice, expected a volume of several.")
    places = len(np.unique(positions, axis=0))
    if places < len(positions):
        raise UserError(
            f"{series.title}: {len(positions)} different slices in {places} places (several "
            "echoes or times?); export the wanted one as a series of its own."
        )
    spacing, _ = get_volume_positions(positions, orientation)
    if spacing is not None:
        return
    spacing, indices = get_volume_positions(positions, orientation, allow_missing_positions=True)
    if spacing is None or indices is None:
        raise UserError(
            f"{series.title}: its slices are not evenly spaced along their normal (tilted gantry, or a mixture?); "
            "resample it to a regular volume first."
        )
    missing = sorted(set(range(max(indices) + 1)) - set(indices))
    lowest = np.array(positions[indices.index(0)])
    step = (positions[indices.index(max(indices))] - lowest) / max(indices)
    gaps = [str([round(float(x), 1) for x in lowest + number * step]) for number in missing]
    raise UserError(
        f"{series.title}: {len(missing)} slices are missing, at {join_some(gaps, most=3)} mm; send or export it again."
    )


def _turned(volume: highdicom.Volume, series: Series) -> highdicom.Volume:
    """Turn the axes slice, row, column to x, y, z."""
    if volume.array.ndim != 3 or not np.isfinite(volume.array).all():
        raise UserError(f"{series.title}: holds colours or values that are no numbers, expected grey values.")
    return volume.permute_spatial_axes([2, 1, 0]).ensure_handedness("RIGHT_HANDED", flip_axis=2)


def _syntax(datasets: Sequence[Dataset]) -> str:
    syntax = datasets[0].file_meta.TransferSyntaxUID
    return (
        f"; they are compressed as {syntax.name}: decompress them with gdcmconv --raw" if syntax.is_compressed else ""
    )


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
