from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest
import torch
from monai.data import ITKWriter
from nibabel.orientations import aff2axcodes

from pu_unet_monai.errors import UserError
from pu_unet_monai.volumes import grid_text, read_volume, same_grid, strip_suffix, write_volume

LPS = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
RAS = np.diag([1.0, 1.2, 2.0, 1.0])
OBLIQUE = np.array([[0.9, -0.3, 0.1, -80.5], [0.28, 0.95, -0.2, 12.25], [-0.05, 0.2, 1.1, -33.3], [0, 0, 0, 1]])
VALUES = np.arange(4 * 5 * 6).reshape(4, 5, 6)


def save(path, values, affine, sform=1, qform=1):
    image = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.nii.gz", "a"), ("a.nii", "a"), ("P1.x.NII.GZ", "P1.x"), ("b.mha", "b"), ("b.nrrd", "b"), ("c.png", "c")],
)
def test_strip_suffix(name, stem):
    assert strip_suffix(f"/data.nii/{name}") == stem


@pytest.mark.parametrize("affine", [LPS, RAS, OBLIQUE])
@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1), (4, 3)])
def test_written_geometry_is_the_source_bit_for_bit(tmp_path, affine, codes):
    path = save(tmp_path / "a.nii.gz", VALUES.astype(np.int16), affine, *codes)
    volume = read_volume(path)
    write_volume(volume, tmp_path / "a_seg.nii.gz", np.uint8, "test")
    source, written = nibabel.load(path), nibabel.load(tmp_path / "a_seg.nii.gz")
    assert written.shape == source.shape
    assert np.array_equal(written.affine, source.affine)
    assert aff2axcodes(written.affine) == aff2axcodes(source.affine)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x", "xyzt_units"):
        assert np.array_equal(written.header[field], source.header[field])
    assert np.array_equal(written.header["pixdim"][:4], source.header["pixdim"][:4])
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), VALUES)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_itk_files_keep_their_place_in_the_world(tmp_path, suffix):
    affine = np.array([[0.0, -1.5, 0, 10], [1.2, 0, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]])
    writer = ITKWriter(output_dtype=np.int16)
    writer.set_data_array(VALUES, channel_dim=None)
    writer.set_metadata({"affine": affine, "original_affine": affine}, resample=False)
    writer.write(str(tmp_path / f"a{suffix}"))
    volume = read_volume(tmp_path / f"a{suffix}")
    assert np.allclose(volume.affine, affine, atol=1e-5)
    assert np.array_equal(volume[0], VALUES)
    write_volume(volume, tmp_path / "a_seg.nii.gz", np.uint8, "test")
    written = nibabel.load(tmp_path / "a_seg.nii.gz")
    assert np.allclose(written.affine, affine, atol=1e-5)
    assert np.array_equal(np.asarray(written.dataobj), VALUES)


def test_four_dimensional_files_come_channels_first(tmp_path):
    values = np.stack([VALUES, VALUES + 200], axis=-1).astype(np.int16)
    volume = read_volume(save(tmp_path / "a.nii", values, RAS), np.float32)
    assert volume.shape == (2, 4, 5, 6)
    assert volume.dtype == torch.float32
    assert np.array_equal(volume[1], VALUES + 200)
    write_volume(volume, tmp_path / "p.nii.gz", np.float32, "test")
    assert np.array_equal(nibabel.load(tmp_path / "p.nii.gz").get_fdata(), values)


def test_grids(tmp_path):
    first = read_volume(save(tmp_path / "a.nii", VALUES.astype(np.int16), LPS))
    moved = LPS.copy()
    moved[0, 3] = 0.5
    second = read_volume(save(tmp_path / "b.nii", VALUES.astype(np.int16), moved))
    third = read_volume(save(tmp_path / "c.nii", VALUES[1:].astype(np.int16), LPS))
    assert same_grid(first, first)
    assert not same_grid(first, second)
    assert not same_grid(first, third)
    assert grid_text(second) == "4x5x6 voxels of 1 x 1 x 1 mm from (0.5, 239, 0), axes LPS"


def test_volume_of_another_shape_is_not_written(tmp_path):
    volume = read_volume(save(tmp_path / "a.nii", VALUES.astype(np.int16), LPS))
    with pytest.raises(UserError, match=r"\(4, 5, 5\) voxels, but its source .*a\.nii has \(4, 5, 6\)"):
        write_volume(volume[..., :5], tmp_path / "b.nii.gz", np.uint8, "test")
    assert not (tmp_path / "b.nii.gz").exists()


def damaged(path, kind):
    """Make a file that cannot be used."""
    save(path, np.linspace(0, 1, 120).reshape(4, 5, 6).astype(np.float32), LPS)
    content = bytearray(gzip.decompress(path.read_bytes()))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no volume")
    elif kind == "flipped bit":
        compressed = bytearray(gzip.compress(content, compresslevel=0))
        compressed[-60] ^= 1  # a voxel; stored blocks hold the bytes as they are
        path.write_bytes(compressed)
    elif kind == "affine":
        content[280:328] = b"\0" * 48  # srow_x, srow_y, srow_z
        path.write_bytes(gzip.compress(content))
    elif kind == "scaling":
        content[112:120] = struct.pack("<ff", 2.0, np.nan)  # scl_slope, scl_inter
        path.write_bytes(gzip.compress(content))
    elif kind == "nan":
        content[-4:] = struct.pack("<f", np.nan)
        path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("truncated", "cannot be read as a volume"),
        ("text", "cannot be read as a volume"),
        ("empty", "cannot be read as a volume"),
        ("flipped bit", "cannot be read as a volume .*CRC"),
        ("affine", "its header has no valid affine"),
        ("scaling", "cannot be read as a volume .*nan"),
        ("nan", "holds values that are NaN or infinite"),
    ],
)
def test_damaged_files(tmp_path, kind, expected):
    path = damaged(tmp_path / "a.nii.gz", kind)
    with pytest.raises(UserError, match=f"a.nii.gz: {expected}") as error:
        read_volume(path)
    assert "\n" not in str(error.value)


def test_missing_file_and_wrong_dimensions(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_volume(tmp_path / "a.nii")
    save(tmp_path / "flat.nii", VALUES[0].astype(np.int16), LPS)
    with pytest.raises(UserError, match="2 dimensions, expected a volume of 3"):
        read_volume(tmp_path / "flat.nii")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_both_versions_of_nifti(tmp_path, kind, suffix):
    nibabel.save(kind(VALUES.astype(np.int16), OBLIQUE), tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert np.array_equal(volume[0], VALUES)
    assert np.allclose(volume.affine, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_four_components_a_voxel(tmp_path, dtype):
    itk = pytest.importorskip("itk")
    values = np.random.default_rng(0).integers(0, 900, (7, 6, 5, 4)).astype(dtype)
    itk.imwrite(
        itk.image_from_array(np.ascontiguousarray(values.transpose(2, 1, 0, 3)), is_vector=True), tmp_path / "a.mha"
    )
    assert np.array_equal(read_volume(tmp_path / "a.mha"), np.moveaxis(values, -1, 0))
