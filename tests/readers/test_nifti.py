"""The reader gives what MONAI's gives, and notices damage that nibabel does not."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import NibabelReader
from monai.transforms import LoadImage
from nibabel.nifti1 import Nifti1Extension

from pu_unet_monai.data import NiftiReader

OBLIQUE = np.array([[0.9, -0.3, 0.1, -80.5], [0.28, 0.95, -0.2, 12.25], [-0.05, 0.2, 1.1, -33.3], [0, 0, 0, 1]])
VALUES = np.arange(-60, 60).reshape(4, 5, 6).astype(np.int16)


def both(path, dtype=np.float32):
    """Load by MONAI's reader and by ours."""
    loads = (LoadImage(reader, ensure_channel_first=True, dtype=dtype) for reader in (NibabelReader(), NiftiReader()))
    return tuple(load(path) for load in loads)


def assert_equal(expected, found):
    assert found.dtype == expected.dtype
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert torch.equal(found.affine, expected.affine)
    assert found.meta.keys() == expected.meta.keys()
    for key, value in expected.meta.items():
        if key.endswith("pixdim"):  # of four axes MONAI writes the length of the offset over that of the fourth axis
            assert np.allclose(found.meta[key][:4], value[:4])
            continue
        assert np.array_equal(
            np.asarray(found.meta[key]), np.asarray(value), equal_nan=np.asarray(value).dtype.kind == "f"
        )


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]),
    order=st.sampled_from(["<", ">"]),
    scaling=st.sampled_from([None, (1.0, 0.0), (2.0, 0.0), (0.37, -12.5), (-1.0, 3.0)]),
    kind=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    shape=st.sampled_from([(3, 4, 5), (3, 4, 5, 2), (3, 4, 1), (3, 4, 5, 1)]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    seed=st.integers(0, 9),
)
def test_any_file_is_read_as_by_monai(tmp_path_factory, dtype, order, scaling, kind, shape, suffix, seed):
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    header = kind.header_class(endianness=order)
    image = kind(values, OBLIQUE, header)
    image.header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    if scaling:
        image.header.set_slope_inter(*scaling)
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    nibabel.save(image, path)
    assert_equal(*both(path))


def test_of_two_affines_the_first_that_counts(tmp_path):
    """MONAI's reader takes the other one where the first differs from pixdim in the fifth digit."""
    image = nibabel.Nifti1Image(VALUES, None)
    image.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    image.set_sform(np.diag([-2.0001, 2.0001, 2.0001, 1]), 2)
    nibabel.save(image, tmp_path / "a.nii")
    theirs, ours = both(tmp_path / "a.nii")
    assert theirs.affine[0, 0] == 2
    assert np.array_equal(ours.affine, nibabel.load(tmp_path / "a.nii").affine)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pixdim", [1, 2, 1, 1, 1, 0, 0, 0], "voxels of 2 x 1 x 1 mm by pixdim, of 1 x 1 x 1 mm by its affine"),
        ("vox_offset", 0, "voxels begin at byte 0, which lies in the header"),
        ("xyzt_units", 3, "measures in the unit 3, expected 2, mm"),
        ("datatype", 32, "voxels are of type complex64, expected one number each"),
    ],
)
def test_headers_that_mislead_are_refused(tmp_path, field, value, message):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(VALUES.astype(np.float64), np.eye(4)), path)
    content = path.read_bytes()
    header = np.frombuffer(content[:348], nibabel.Nifti1Header.template_dtype).copy()
    header[field] = value
    if field == "pixdim":
        header["sform_code"], header["srow_x"], header["srow_y"], header["srow_z"] = 1, *np.eye(4)[:3]
    path.write_bytes(header.tobytes() + content[348:])
    with pytest.raises(OSError, match=message):
        NiftiReader().read(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_own_type(tmp_path, dtype):
    nibabel.save(nibabel.Nifti1Image(VALUES.astype(dtype), OBLIQUE), tmp_path / "a.nii.gz")
    assert_equal(*both(tmp_path / "a.nii.gz", dtype=None))


def test_big_endian_in_the_type_of_the_file(tmp_path):
    """MONAI's reader cannot: PyTorch knows only the machine's order."""
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(VALUES.astype(">i2"), OBLIQUE, header), tmp_path / "a.nii.gz")
    volume = LoadImage(NiftiReader(), dtype=None)(tmp_path / "a.nii.gz")
    assert volume.dtype == torch.int16
    assert np.array_equal(volume, VALUES)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_stay_where_they_are(tmp_path, suffix):
    """x lies first in memory, as in the file; and the file may be written over."""
    nibabel.save(nibabel.Nifti1Image(np.stack([VALUES, VALUES + 1], -1), OBLIQUE), tmp_path / f"a{suffix}")
    volume = LoadImage(NiftiReader(), ensure_channel_first=True, dtype=None)(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").write_bytes(b"other")
    assert volume.stride() == (120, 1, 4, 20)
    volume += 1  # no view of the file, nor of memory that may not be written
    assert np.array_equal(volume[1], VALUES + 2)


def test_several_files_are_stacked(tmp_path):
    paths = [tmp_path / "a.nii.gz", tmp_path / "b.nii"]
    for path, values in zip(paths, (VALUES, VALUES[::-1]), strict=True):
        nibabel.save(nibabel.Nifti1Image(values, OBLIQUE), path)
    expected, found = both(paths)
    assert_equal(expected, found)
    assert np.array_equal(found, np.stack([VALUES, VALUES[::-1]]))


def compressed(path: Path) -> bytes:
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    image.header.extensions.append(Nifti1Extension("comment", b"moves the voxels"))
    nibabel.save(image, path)
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("cut", [2, 100, 400, 600])
def test_gzip_of_several_members(tmp_path, cut):
    content = compressed(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]) + b"\0" * 7)
    assert np.array_equal(LoadImage(NiftiReader())(tmp_path / "a.nii.gz"), VALUES)


@pytest.mark.parametrize(
    ("end", "message"),
    [(gzip.compress(b"x")[:-9], r"end-of-stream|ended"), (b"garbage" * 3, "[Nn]ot a gzip"), (b"", "")],
    ids=["a member cut short", "no member", "nothing"],  # a member tells the time
)
def test_what_follows_the_voxels_is_checked(tmp_path, end, message):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(compressed(path)) + end)
    if not end:
        assert np.array_equal(LoadImage(NiftiReader())(path), VALUES)
        return
    with pytest.raises((OSError, EOFError), match=message):
        LoadImage()(path, reader=NiftiReader())


@pytest.mark.parametrize("field", [-8, -4])
def test_checksum_and_length(tmp_path, field):
    """The last eight bytes of a gzip file: CRC-32 and length."""
    path = tmp_path / "a.nii.gz"
    content = bytearray(gzip.compress(compressed(path)))
    content[field] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"CRC check failed|length"):
        LoadImage()(path, reader=NiftiReader())
