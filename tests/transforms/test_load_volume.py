from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.data import ITKWriter

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import CheckSameGridd, LoadVolume, LoadVolumed

AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
MODALITIES = ("flair", "t1", "t1ce", "t2")
VALUES = np.random.default_rng(0).integers(0, 2000, (4, 6, 7, 8)).astype(np.int16)


@pytest.fixture
def one_file(tmp_path):
    path = tmp_path / "one" / "P1.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(VALUES, 0, -1), AFFINE), path)
    return str(path)


@pytest.fixture
def four_files(tmp_path):
    paths = [tmp_path / f"P1_{name}.nii.gz" for name in MODALITIES]
    for path, values in zip(paths, VALUES, strict=True):
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
    return [str(path) for path in paths]


def test_one_file_and_four_files_are_the_same_volume(one_file, four_files):
    first, second = LoadVolume()(one_file), LoadVolume()(four_files)
    assert np.array_equal(first, VALUES)
    assert np.array_equal(second, VALUES)
    assert np.array_equal(first.affine, AFFINE)
    assert np.array_equal(second.affine, AFFINE)
    assert case_name(first) == case_name(second) == "P1"


def test_channel_order_of_the_item(one_file):
    item = LoadVolumed("image")({"image": one_file, "channel_order": [2, 0, 1, 3]})
    assert np.array_equal(item["image"], VALUES[[2, 0, 1, 3]])
    assert case_name(item["image"]) == "P1"


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 9], [0, 1, 2, 2]])
def test_channel_order_that_is_none(one_file, order):
    with pytest.raises(UserError, match=r"channel_order \[0, 1, 2.*\], expected each of 0 to 3 once"):
        LoadVolumed("image")({"image": one_file, "channel_order": order})


def test_label_keeps_its_type_and_is_not_reordered(tmp_path):
    labels = (VALUES[0] % 4).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "l.nii.gz")
    load = LoadVolumed("label", channels=1, dtype=None)
    item = load({"label": str(tmp_path / "l.nii.gz"), "channel_order": [1, 0, 2, 3]})
    assert np.array_equal(item["label"][0], labels)
    assert item["label"].numpy().dtype == np.uint8


def test_three_channels(one_file, four_files, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(VALUES[:3], 0, -1), AFFINE), tmp_path / "three.nii.gz")
    with pytest.raises(UserError, match=r"three.nii.gz: 3 channel\(s\), expected 4 \(FLAIR, T1w, T1gd, T2w\)"):
        LoadVolume()(tmp_path / "three.nii.gz")
    with pytest.raises(UserError, match=r"3 channel\(s\), expected 4"):
        LoadVolume()(four_files[:3])
    with pytest.raises(UserError, match=r"8 channel\(s\), expected 4"):
        LoadVolume()([one_file, one_file])


def test_different_grids_are_refused_or_forced(four_files):
    moved = AFFINE.copy()
    moved[2, 3] = 2.0  # the file's slice k lies where the others' slice k + 2 does
    nibabel.save(nibabel.Nifti1Image(VALUES[3], moved), four_files[3])
    with pytest.raises(UserError, match=r"P1_flair.nii.gz has 6x7x8 voxels.*P1_t2.nii.gz has .* or use --force"):
        LoadVolume()(four_files)
    forced = LoadVolume(force=True)(four_files)
    assert np.array_equal(forced[:3], VALUES[:3])
    assert np.allclose(forced[3, :, :, 2:], VALUES[3, :, :, :-2], atol=1e-2)
    assert (forced[3, :, :, :2] == 0).all()
    assert "different grids" in forced.meta["forced"][0]


def test_label_on_another_grid(one_file, tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] = 5
    nibabel.save(nibabel.Nifti1Image(VALUES[0], moved), tmp_path / "l.nii.gz")
    load = LoadVolumed("label", channels=1)
    item = LoadVolumed("image")(load({"image": one_file, "label": str(tmp_path / "l.nii.gz")}))
    with pytest.raises(UserError, match="image and label lie on different grids"):
        CheckSameGridd(["image", "label"])(item)


@pytest.mark.parametrize("given", range(4))
def test_one_modality_brings_its_siblings(given, four_files):
    volume = LoadVolume()(four_files[given])
    assert np.array_equal(volume, VALUES)
    assert case_name(volume) == "P1"


def test_missing_siblings_are_named(four_files, tmp_path):
    (tmp_path / "P1_t1ce.nii.gz").unlink()
    with pytest.raises(UserError, match=r"P1_t1.nii.gz: .* but no T1gd; add what is missing"):
        LoadVolume()(four_files[1])


def test_4d_file_that_is_named_like_a_modality(one_file, tmp_path):
    (tmp_path / "one" / "P1.nii.gz").rename(tmp_path / "one" / "P1_t1.nii.gz")
    assert np.array_equal(LoadVolume()(tmp_path / "one" / "P1_t1.nii.gz"), VALUES)


def test_label_of_a_modality_stays_one_file(four_files):
    assert LoadVolume(channels=1, dtype=None)(four_files[2]).shape == (1, 6, 7, 8)


@pytest.mark.parametrize(
    ("dtype", "slope", "expected"),
    [
        *(("u1", None, torch.uint8), ("i1", None, torch.int8), ("i2", None, torch.int16), ("i2", 1.0, torch.int16)),
        *(("i2", 0.37, torch.float32), ("u2", None, torch.float32), ("i4", None, torch.float32)),
        *(("f4", None, torch.float32), ("f8", None, torch.float32)),
    ],
)
def test_small_integers_are_kept_if_wanted(tmp_path, dtype, slope, expected):
    """What single precision holds in half the memory; all else is as without."""
    image = nibabel.Nifti1Image((np.moveaxis(VALUES, 0, -1) % 100).astype(dtype), AFFINE)
    image.header.set_data_dtype(dtype)
    if slope:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    plain = LoadVolume()(tmp_path / "a.nii.gz")
    kept = LoadVolumed("image", keep_integers=True)({"image": str(tmp_path / "a.nii.gz")})["image"]
    assert (plain.dtype, kept.dtype) == (torch.float32, expected)
    assert torch.equal(plain, kept.float())
    assert kept.meta.keys() == plain.meta.keys()


@pytest.mark.parametrize("keep_integers", [False, True])
def test_order_and_stacking_of_kept_integers(one_file, four_files, keep_integers):
    load = LoadVolume(keep_integers=keep_integers)
    assert np.array_equal(load(one_file, (3, 1, 0, 2)), VALUES[[3, 1, 0, 2]])
    assert np.array_equal(load(four_files, (3, 1, 0, 2)), VALUES[[3, 1, 0, 2]])
    if keep_integers:  # x still lies first in memory
        assert load(four_files).stride() == load(one_file).stride() == (336, 1, 6, 42)


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, torch.int16), (np.float32, torch.float32)])
def test_files_of_several_types(four_files, dtype, expected):
    values = VALUES % 200
    for path, channel, kind in zip(four_files, values, (np.int16, dtype, np.int16, dtype), strict=True):
        nibabel.save(nibabel.Nifti1Image(channel.astype(kind), AFFINE), path)
    volume = LoadVolume(keep_integers=True)(four_files)
    assert volume.dtype == expected
    assert np.array_equal(volume, values)


def test_forced_resampling_of_kept_integers(four_files):
    moved = AFFINE.copy()
    moved[2, 3] = 0.5
    nibabel.save(nibabel.Nifti1Image(VALUES[3], moved), four_files[3])
    plain, kept = (LoadVolume(force=True, keep_integers=keep)(four_files) for keep in (False, True))
    assert kept.dtype == torch.float32
    assert torch.equal(plain, kept)


def test_small_integers_of_itk_files(tmp_path):
    for name, values in zip(MODALITIES, VALUES, strict=True):
        writer = ITKWriter(output_dtype=np.int16)
        writer.set_data_array(values, channel_dim=None)
        writer.set_metadata({"affine": AFFINE, "original_affine": AFFINE}, resample=False)
        writer.write(str(tmp_path / f"P1_{name}.mha"))
    volume = LoadVolume(keep_integers=True)([tmp_path / f"P1_{name}.mha" for name in MODALITIES])
    assert volume.dtype == torch.int16
    assert np.array_equal(volume, VALUES)
