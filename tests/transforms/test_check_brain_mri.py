from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import CheckBrainMRI, CheckBrainMRId


def brain(spacing=1.0):
    volume = torch.zeros(4, 10, 10, 10)
    volume[:, 2:8, 2:8, 2:8] = torch.arange(1.0, 217.0).view(6, 6, 6)
    affine = torch.diag(torch.tensor([1.0, 1.0, spacing, 1.0], dtype=torch.float64))
    return MetaTensor(volume, affine=affine, meta={"filename_or_obj": "P1.nii.gz"})


def test_a_brain_passes_unchanged():
    volume = brain()
    checked = CheckBrainMRId("image")({"image": volume})["image"]
    assert torch.equal(checked, brain())
    assert checked.meta["forced"] == []


@pytest.mark.parametrize(("zeros", "passes"), [(300, True), (299, False)])
def test_thirty_per_cent_zeros(zeros, passes):
    volume = brain()
    volume[:] = torch.arange(1.0, 1001.0).view(10, 10, 10)
    volume.view(4, -1)[:, :zeros] = 0
    if passes:
        CheckBrainMRI()(volume)
    else:
        with pytest.raises(UserError, match=r"P1.nii.gz: only 30% of the voxels are zero.*remove the skull"):
            CheckBrainMRI()(volume)


def test_brains_apart():
    volume = brain()
    volume[2] = torch.roll(volume[2], (4, 0, 0), (0, 1, 2))
    with pytest.raises(UserError, match=r"do not overlap \(Dice with FLAIR: T1gd 0.33;.*co-register"):
        CheckBrainMRI()(volume)


def test_thick_slices():
    CheckBrainMRI()(brain(spacing=3.0))
    with pytest.raises(UserError, match=r"voxels of 1 x 1 x 3.1 mm, expected 3 mm or less"):
        CheckBrainMRI()(brain(spacing=3.1))


def test_all_reasons_at_once_and_forced():
    volume = brain(spacing=5.0)
    volume += 1.0
    with pytest.raises(UserError, match=r"skull-stripped .*; voxels of 1 x 1 x 5 mm"):
        CheckBrainMRI()(volume)
    volume.meta["forced"] = ["different grids"]
    forced = CheckBrainMRI(force=True)(volume)
    assert len(forced.meta["forced"]) == 3
    assert torch.equal(forced, volume)


def test_a_modality_without_signal_never_passes():
    volume = brain()
    volume[1] = 0
    for force in (False, True):
        with pytest.raises(UserError, match="all voxels of T1w are zero"):
            CheckBrainMRI(force)(volume)
    volume[:] = 0
    with pytest.raises(UserError, match="all voxels of FLAIR, T1w, T1gd, T2w are zero"):
        CheckBrainMRI()(volume)


def test_a_mask_is_no_image():
    volume = brain()
    volume[3] = (volume[3] != 0).float()
    with pytest.raises(UserError, match="T2w has one value in the whole brain"):
        CheckBrainMRI(force=True)(volume)


@pytest.mark.parametrize(
    ("values", "flat"),
    [([0, 3, 3, 3], True), ([-3, -3, 0, 0], True), ([5, 5, 5, 5], True), ([-3, 3, 0, 0], False), ([0, 0, 3, 4], False)],
)
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_one_value_besides_zero(values, flat, dtype):
    """Found wherever the values differ, in the last slice too."""
    volume = brain().to(dtype)
    volume[3] = 0
    volume[3, 4, 4, 6:10] = torch.tensor(values, dtype=dtype)
    if flat and 0 not in values:
        volume[3] = values[0]
    message = "T2w has one value" if flat else "T2w 0.0"
    with pytest.raises(UserError, match=message):
        CheckBrainMRI()(volume)


def test_a_header_without_orientation():
    volume = brain()
    volume.meta |= {"sform_code": 0, "qform_code": 1}
    CheckBrainMRI()(volume)
    volume.meta["qform_code"] = 0
    with pytest.raises(UserError, match="says nothing about orientation"):
        CheckBrainMRI()(volume)
    assert len(CheckBrainMRI(force=True)(volume).meta["forced"]) == 1


def test_signed_intensities():
    volume = brain()
    volume[:, 2:8, 2:8, 2:8] -= 5.5
    assert np.array_equal(CheckBrainMRI()(volume), volume)
