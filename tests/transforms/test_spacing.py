from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Spacingd

from pu_unet_monai.transforms import PlainSpacingd

OBLIQUE = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


def test_beside_keys_that_begin_like_the_image() -> None:
    """MONAI Label adds ``image_path`` to every item; MONAI's own transform takes it for metadata."""
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    image = MetaTensor(torch.rand(1, 6, 8, 10), affine=affine, meta={"filename_or_obj": "a.nii.gz"})
    spacing = PlainSpacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear")
    item = spacing({"image": image.clone(), "image_path": "a.nii.gz", "label": 3})
    expected = Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear")({"image": image.clone()})
    assert item["image"].shape == (1, 11, 8, 10)
    assert torch.equal(item["image"], expected["image"])
    assert (item["image_path"], item["label"]) == ("a.nii.gz", 3)
    assert spacing.inverse(item)["image"].shape == image.shape


def of_spacing(spacing: list[float], rotation: np.ndarray, dtype: torch.dtype = torch.int16) -> MetaTensor:
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(spacing)
    affine[:3, 3] = (-80.5, 12.25, 3)
    values = torch.from_numpy(np.random.default_rng(1).integers(-900, 900, (2, 6, 7, 8))).to(dtype)
    return MetaTensor(values, affine=torch.as_tensor(affine), meta={"filename_or_obj": "a.nii.gz"})


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.lists(st.sampled_from([1.0, 1.0, 1.0, 1 + 1e-9, 1.0004, 1.02, 0.5, 2.0]), min_size=3, max_size=3),
    oblique=st.booleans(),
    mode=st.sampled_from(["bilinear", "nearest"]),
)
def test_as_monai_but_for_the_type(spacing, oblique, mode):
    """Values, affine, and what is recorded for the inverse."""
    rotation = OBLIQUE if oblique else np.diag([-1.0, -1.0, 1.0])
    volume = of_spacing(spacing, rotation)
    before = volume.clone()
    monai, plain = (kind("image", pixdim=(1.0, 1.0, 1.0), mode=mode) for kind in (Spacingd, PlainSpacingd))
    expected, found = monai({"image": volume.float()}), plain({"image": volume})
    assert torch.equal(found["image"].float().as_tensor(), expected["image"].as_tensor())
    assert torch.equal(found["image"].affine, expected["image"].affine)
    assert not found["image"].pending_operations
    (operation,), (other,) = (item["image"].applied_operations for item in (found, expected))
    assert {k: v for k, v in operation.items() if k not in ("id", "extra_info")} == {
        k: v for k, v in other.items() if k not in ("id", "extra_info")
    }
    assert str(operation["extra_info"]) == str(other["extra_info"])
    back, expected_back = plain.inverse(found)["image"], monai.inverse(expected)["image"]
    assert torch.equal(back.float().as_tensor(), expected_back.as_tensor())
    assert torch.equal(back.affine, expected_back.affine)
    assert torch.equal(volume.as_tensor(), before.as_tensor())
    assert not volume.applied_operations


def test_nothing_to_do_keeps_type_and_memory():
    volume = of_spacing([1.0, 1.0, 1.0], OBLIQUE)
    found = PlainSpacingd("image", pixdim=(1.0, 1.0, 1.0))({"image": volume})["image"]
    assert found.dtype == torch.int16
    assert found.data_ptr() == volume.data_ptr()
    resampled = PlainSpacingd("image", pixdim=(1.0, 1.0, 1.1))({"image": volume})["image"]
    assert resampled.dtype == torch.float32
    assert resampled.shape[1:] != volume.shape[1:]


@pytest.mark.parametrize("lazy", [False, True])
def test_lazy(lazy):
    found = PlainSpacingd("image", pixdim=(1.0, 1.0, 1.0))({"image": of_spacing([1.0] * 3, OBLIQUE)}, lazy=lazy)[
        "image"
    ]
    assert (len(found.pending_operations), len(found.applied_operations)) == ((1, 0) if lazy else (0, 1))
