"""Good files with random edits: each reader gives an error that names the file, or something that is whole."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pu_unet_monai.errors import UserError
from pu_unet_monai.images import read_mask, read_rgb
from pu_unet_monai.volumes import read_volume
from tests.reliability.bad_images import good_image
from tests.reliability.bad_volumes import AFFINE, good_voxels
from tests.reliability.tally import Tally, examples
from tests.reliability.time_limit import at_most

LARGEST = 100_000_000
"""Voxels or pixels; more than a small file can hold is to be refused before it is unpacked."""
tally = Tally()
often = examples(short=40, full=1000)


def encoded(name: str) -> bytes:
    """A small image in a format."""
    file = io.BytesIO()
    good_image((24, 18)).save(file, name)
    return file.getvalue()


def nifti() -> bytes:
    return nibabel.Nifti1Image(good_voxels(), AFFINE).to_bytes()


def nrrd() -> bytes:
    voxels = good_voxels()
    size = " ".join(map(str, voxels.shape))
    header = f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
    header += "space directions: (1,0,0) (0,1,0) (0,0,1.5)\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    return header.encode() + voxels.astype("<i2").tobytes(order="F")


FILES: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: encoded("PNG"),
    "a.jpg": lambda: encoded("JPEG"),
    "a.tif": lambda: encoded("TIFF"),
    "a.bmp": lambda: encoded("BMP"),
    "a.nii": nifti,
    "a.nii.gz": lambda: gzip.compress(nifti(), mtime=0),
    "a.nrrd": nrrd,
}


@pytest.fixture(scope="module", autouse=True)
def recorded(record) -> Iterator[None]:
    yield
    tally.keep(record)


@st.composite
def edited(draw: st.DrawFn, good: bytes) -> bytes:
    """Return bytes of which some were changed, added or dropped; mostly near the beginning, where headers are."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)) | st.integers(0, min(400, len(content))))
        length = draw(st.integers(0, 8) | st.integers(0, len(content)))
        content[place : place + length] = draw(st.binary(max_size=8))
    return bytes(content)


def kind_of(path: Path) -> str:
    return f"random edits of {path.name[1:]}"


def assert_clear(error: UserError, path: Path) -> None:
    tally.errors[kind_of(path)] += 1
    assert str(path) in str(error)
    assert "\n" not in str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_readers(name, tmp_path):
    path = tmp_path / name
    good = FILES[name]()
    readers = [read_volume] if name.startswith(("a.nii", "a.nrrd")) else [read_rgb, read_mask]

    @often
    @given(content=edited(good))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        for read in readers:
            tally.tried[kind_of(path)] += 1
            try:
                with at_most(60):
                    found = np.asarray(read(path))
            except UserError as error:
                assert_clear(error, path)
                continue
            assert 0 < found.size < LARGEST
            assert np.isfinite(found).all()

    check()
