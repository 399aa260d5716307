"""Each damaged or unusual DICOM series is an error, or the volume that its files hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pu_unet_monai.errors import UserError
from tests.reliability.time_limit import at_most

pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")
pydicom = pytest.importorskip("pydicom")

from pu_unet_monai.dicom.read import SeriesVolume, read_series  # noqa: E402, needs pydicom
from pu_unet_monai.dicom.series import find_series  # noqa: E402
from tests.reliability.bad_dicom import bad_series, good_series  # noqa: E402

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(folder: Path) -> tuple[list[SeriesVolume], list[str]]:
    """Read what a folder holds; each file that is there is read, or named with what is wrong with it."""
    volumes, said = [], []
    found, aside = find_series(folder)
    for series in found:
        try:
            volumes.append(read_series(series))
        except UserError as error:
            said.append(str(error))
    assert len(volumes) + len([line for line in said if line.startswith("series ")]) == len(found)
    assert all("\n" not in line for line in said + aside)
    named = {path.name for series in found for path in series.files} | {line.partition(":")[0] for line in aside}
    assert named == {path.name for path in folder.iterdir()}
    return volumes, said + aside


def expected(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Put the slices together as DICOM PS3.3 C.7.6.2.1.1 says: voxels (x, y, z), and their affine to RAS in mm."""
    slices = [pydicom.dcmread(path) for path in files if "PixelData" in pydicom.dcmread(path)]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    places = {tuple(map(float, one.ImagePositionPatient)): one for one in slices}
    ordered = sorted(places, key=lambda place: np.dot(place, np.cross(row, column)))
    affine = np.eye(4)
    affine[:3, 0] = row * float(slices[0].PixelSpacing[1])
    affine[:3, 1] = column * float(slices[0].PixelSpacing[0])
    affine[:3, 2] = np.subtract(ordered[-1], ordered[0]) / (len(ordered) - 1)
    affine[:3, 3] = ordered[0]
    pixels = [
        places[place].pixel_array.T * float(places[place].get("RescaleSlope", 1))
        + float(places[place].get("RescaleIntercept", 0))
        for place in ordered
    ]
    return np.stack(pixels, axis=-1), RAS @ affine


def test_each_series_is_an_error_or_right(tmp_path, record):
    good = good_series(tmp_path / "good")
    tried, errors = 0, 0
    for name, files in bad_series(good):
        folder = tmp_path / name
        folder.mkdir()
        for number, content in enumerate(files):
            (folder / f"{number}.dcm").write_bytes(content)
        with at_most(60):
            volumes, said = read(folder)
        tried += 1
        if not volumes:
            assert said, name
            errors += 1
            continue
        (volume,) = volumes
        voxels, affine = expected(sorted(folder.iterdir()))
        np.testing.assert_allclose(volume.volume.get_affine("RAS"), affine, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(volume.volume.array, voxels, rtol=1e-6, err_msg=name)
    assert errors < tried
    record("bad inputs", "DICOM series", {"tried": tried, "errors": errors, "right": tried - errors})
