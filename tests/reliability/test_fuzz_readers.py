"""Good files with random edits: each reader gives an error that names the file, or what an independent reader does."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from numpy.typing import NDArray
from PIL import Image

from pu_unet_monai.errors import UserError
from pu_unet_monai.images import read_mask, read_rgb
from pu_unet_monai.volumes import read_volume
from tests.reliability.bad_images import exif_block, good_image, with_exif
from tests.reliability.bad_itk_volumes import METAIMAGE_FIELDS, NRRD_FIELDS
from tests.reliability.bad_volumes import AFFINE, good_voxels
from tests.reliability.itk_files import metaimage, nrrd, voxel_bytes
from tests.reliability.read_alone import read_alone
from tests.reliability.shown import shown
from tests.reliability.tally import Tally, examples
from tests.reliability.time_limit import at_most

LARGEST = 100_000_000
"""Voxels or pixels; more than a small file can hold is to be refused before it is unpacked."""
often = examples(short=40, full=1000)


def encoded(name: str) -> bytes:
    """A small image in a format."""
    file = io.BytesIO()
    good_image((24, 18)).save(file, name)
    return file.getvalue()


def nifti() -> bytes:
    return nibabel.Nifti1Image(good_voxels(), AFFINE).to_bytes()


def nrrd_gzip() -> bytes:
    header, voxels = nrrd().split(b"\n\n", 1)
    return header.replace(b"encoding: raw", b"encoding: gzip") + b"\n\n" + gzip.compress(voxels, mtime=0)


FILES: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: encoded("PNG"),
    "a.jpg": lambda: encoded("JPEG"),
    "a.tif": lambda: encoded("TIFF"),
    "a.bmp": lambda: encoded("BMP"),
    "a.nii": nifti,
    "a.nii.gz": lambda: gzip.compress(nifti(), mtime=0),
    "a.nrrd": nrrd,
    "a.gz.nrrd": nrrd_gzip,
    "a.mha": metaimage,
    "a.zlib.mha": lambda: metaimage(compressed=True),
    "a.mhd": lambda: metaimage(data_file="a.raw"),
}


@st.composite
def edited(draw: st.DrawFn, good: bytes) -> bytes:
    """Return bytes of which some were changed, added or dropped; mostly near the beginning, where headers are."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)) | st.integers(0, min(400, len(content))))
        length = draw(st.integers(0, 8) | st.integers(0, len(content)))
        content[place : place + length] = draw(st.binary(max_size=8))
    return bytes(content)


def scaled(path: Path) -> bool:
    """Tell whether an image is of more than 8 bits, which Pillow does not scale."""
    with Image.open(path) as image:
        return image.mode[0] in "IF"


def assert_rgb(found: Image.Image, path: Path) -> None:
    if not scaled(path):
        np.testing.assert_array_equal(found, shown(path, "RGB"))


def assert_mask(found: NDArray[np.bool_], path: Path) -> None:
    if not scaled(path):
        grey = shown(path, "L")
        np.testing.assert_array_equal(found, grey > (127 if grey.max() > 1 else 0))


def assert_nifti(found: MetaTensor, path: Path) -> None:
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    voxels = voxels.reshape(*voxels.shape[:3], -1)  # of more than four axes those of one element count for nothing
    np.testing.assert_array_equal(found.numpy(), np.moveaxis(voxels, -1, 0))
    np.testing.assert_array_equal(found.affine, image.affine)


def assert_itk(found: MetaTensor, path: Path) -> None:
    voxels, affine = read_alone(path)
    np.testing.assert_array_equal(found.numpy(), voxels)
    np.testing.assert_allclose(found.affine, affine, rtol=1e-6, atol=1e-6)


def assert_clear(error: UserError, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)


IMAGE_READERS: dict[Callable, Callable] = {read_rgb: assert_rgb, read_mask: assert_mask}


def assert_error_or_right(path: Path, readers: dict[Callable, Callable], tally: Tally, kind: str) -> None:
    for read, assert_right in readers.items():
        tally.tried[kind] += 1
        try:
            with at_most(60):
                found = read(path)
        except UserError as error:
            tally.errors[kind] += 1
            assert_clear(error, path)
            continue
        assert 0 < np.asarray(found).size < LARGEST
        assert np.isfinite(found).all()
        assert_right(found, path)


def try_often(
    contents: st.SearchStrategy[bytes], path: Path, readers: dict[Callable, Callable], tally: Tally, kind: str
) -> None:
    """Read files of many contents, one after the other."""

    @often
    @given(content=contents)
    def check(content: bytes) -> None:
        path.write_bytes(content)
        assert_error_or_right(path, readers, tally, kind)

    check()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_readers(name, tmp_path, tally):
    path = tmp_path / name
    good = FILES[name]()
    readers = IMAGE_READERS
    if name.endswith((".nii", ".nii.gz")):
        readers = {read_volume: assert_nifti}
    elif name.endswith((".nrrd", ".mha", ".mhd")):
        readers = {read_volume: assert_itk}
    (tmp_path / "a.raw").write_bytes(voxel_bytes())
    try_often(edited(good), path, readers, tally, f"random edits of {name[1:]}")


def changes(fields: dict[str, tuple[str | None, ...]]) -> st.SearchStrategy[dict[str, str | None]]:
    """Some fields of a header, each with one of its unusual values; several at once are what single cases lack."""
    one = st.sampled_from([(name, value) for name, values in fields.items() for value in values])
    return st.lists(one, min_size=1, max_size=4).map(dict)


@pytest.mark.parametrize(
    ("name", "fields", "make"), [("a.mha", METAIMAGE_FIELDS, metaimage), ("a.nrrd", NRRD_FIELDS, nrrd)]
)
def test_headers(name, fields, make, tmp_path, tally):
    path = tmp_path / name
    contents = st.builds(
        lambda changed, copies: make(voxel_bytes() * copies, **changed), changes(fields), st.integers(1, 4)
    )
    try_often(contents, path, {read_volume: assert_itk}, tally, f"changed fields of {path.suffix}")


@st.composite
def edited_exif(draw: st.DrawFn, kind: str) -> bytes:
    """Return an image with EXIF data, edited as a whole, or in these data alone, before a checksum is made of them."""
    block = exif_block(draw(st.integers(1, 8)))
    if draw(st.booleans()):
        return draw(edited(with_exif(kind, block, (24, 18))))
    return with_exif(kind, b"Exif\0\0" + draw(edited(block.removeprefix(b"Exif\0\0"))), (24, 18))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".png", "PNG")])
def test_which_way_up(suffix, kind, tmp_path, tally):
    path = tmp_path / f"a{suffix}"
    try_often(edited_exif(kind), path, IMAGE_READERS, tally, f"random edits of {suffix} with EXIF")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".png", "PNG"), (".tif", "TIFF")])
def test_each_orientation(suffix, kind, orientation, tmp_path):
    """So that the edits are of images which are right before, and turned."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(with_exif(kind, exif_block(orientation), (24, 18)))
    found = read_rgb(path)
    assert found.size == ((24, 18) if orientation < 5 else (18, 24))
    assert_rgb(found, path)
