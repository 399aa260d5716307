"""The preprocessing of brain MRI gives the values of MONAI's usual transforms, bit for bit, and is undone alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import ITKWriter, MetaTensor
from monai.transforms import Compose, Invertd

from benchmarks.loading import bundle_chain, compare, monai_chain

SHAPE = (14, 17, 12)
MODALITIES = ("flair", "t1", "t1ce", "t2")


@pytest.fixture(scope="module")
def ours(repository: Path) -> Compose:
    return bundle_chain(repository / "bundles" / "pu_unet_brats")


def brain(rng: np.random.Generator, dtype: str, box: list[tuple[int, int]]) -> np.ndarray:
    """Make (x, y, z, 4), where some voxels in the box are not 0, the first and the last surely."""
    least = 1 if dtype.startswith("u") else -90
    image = np.zeros((*SHAPE, 4))
    inside = image[tuple(slice(first, last) for first, last in box)]
    inside[:] = rng.integers(least, 120, inside.shape) * (rng.random(inside.shape) < 0.8)
    inside[0, 0, 0], inside[-1, -1, -1] = (50, 51, 52, 53), 100
    return image.astype(dtype)


def inverted(chain: Compose, item: dict[str, Any]) -> MetaTensor:
    """Bring a label map of the box, which is a function of the place alone, to the grid of the file."""
    label = torch.arange(item["image"][0].numel()).view(1, *item["image"].shape[1:]) % 4
    undo = Invertd("pred", transform=chain, orig_keys="image", nearest_interp=True, to_tensor=True)
    return undo(item | {"pred": MetaTensor(label.float(), meta=item["image"].meta)})["pred"]


def assert_same(ours: Compose, files: str | list[str]) -> None:
    theirs = monai_chain()
    expected, found = theirs({"image": files}), ours({"image": files})
    assert compare(expected, found) == {"voxels": True, "box": True, "affine": True}
    label, other = inverted(ours, found), inverted(theirs, expected)
    assert torch.equal(label.as_tensor(), other.as_tensor())
    assert torch.equal(label.affine, other.affine)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "f4", "f8"]),
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.sampled_from([(1, 1, 1), (1, 1, 1), (1, 1.5, 1), (0.8, 1, 2)]),
    tilt=st.sampled_from([0, 0, 0.2]),
    scaling=st.sampled_from([None, None, (2.0, 0.0), (0.37, 0.0), (1.0, -1000.0)]),
    corners=st.tuples(*[st.tuples(st.integers(0, 5), st.integers(8, 12))] * 3),
    four_files=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_file(ours, tmp_path_factory, dtype, axes, signs, spacing, tilt, scaling, corners, four_files, seed):
    matrix = np.eye(3)[list(axes)] * signs
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ matrix * spacing
    affine[:3, 3] = (-80.5, 12.25, 3)
    image = brain(np.random.default_rng(seed), dtype, list(corners))
    folder = tmp_path_factory.mktemp("case")
    parts = list(np.moveaxis(image, -1, 0)) if four_files else [image]
    files = [folder / f"P1_{name}.nii.gz" for name in MODALITIES] if four_files else [folder / "P1.nii"]
    for values, file in zip(parts, files, strict=True):
        nifti = nibabel.Nifti1Image(values, affine)
        nifti.header.set_data_dtype(dtype)
        if scaling:
            nifti.header.set_slope_inter(*scaling)
        nibabel.save(nifti, file)
    forced = Compose([ours.transforms[0], *ours.transforms[2:]])  # without the check, whether that is a brain
    assert_same(forced, [str(file) for file in files] if four_files else str(files[0]))


@pytest.mark.parametrize("voxel", [(0, 0, 0), (13, 16, 11), (7, 0, 11)])
def test_one_voxel_of_foreground(ours, tmp_path, voxel):
    image = np.zeros((*SHAPE, 4), np.int16)
    image[voxel] = (3, 0, -4, 5)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([-1.0, -1, 1, 1])), tmp_path / "a.nii.gz")
    assert_same(Compose([ours.transforms[0], *ours.transforms[2:]]), str(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_other_formats(ours, tmp_path, suffix):
    image = brain(np.random.default_rng(0), "i2", [(2, 9), (0, 17), (4, 10)])
    files = [tmp_path / f"P1_{name}{suffix}" for name in MODALITIES]
    for channel, file in zip(np.moveaxis(image, -1, 0), files, strict=True):
        writer = ITKWriter(output_dtype=np.int16)
        writer.set_data_array(channel, channel_dim=None)
        writer.set_metadata({"affine": np.eye(4), "original_affine": np.eye(4)}, resample=False)
        writer.write(str(file))
    assert_same(Compose([ours.transforms[0], *ours.transforms[2:]]), [str(file) for file in files])


def test_voxels_are_small_until_the_foreground_is_cut_out(ours, tmp_path):
    image = brain(np.random.default_rng(0), "i2", [(2, 9), (3, 12), (4, 10)])
    nibabel.save(nibabel.Nifti1Image(image, np.diag([1.0, 1, 1, 1])), tmp_path / "a.nii.gz")
    item: dict[str, Any] = {"image": str(tmp_path / "a.nii.gz")}
    for step in ours.transforms[:-1]:
        item = step(item)
        assert item["image"].dtype == torch.int16
    item = ours.transforms[-1](item)
    assert item["image"].dtype == torch.float32
    assert item["image"].untyped_storage().nbytes() == 4 * 4 * 7 * 9 * 6  # no view of the whole volume
