"""The median spacing of a training set, and volumes resampled to it and back."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Invertd, Orientationd

from pu_unet_monai.data import median_spacing
from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import LoadVolumed, PlainSpacingd, SaveLabelMapd

OBLIQUE = np.array([[0.0, -0.9, 0.1, 31.7], [1.1, 0.0, 0.2, -9.3], [-0.2, 0.1, 2.4, 5.1], [0, 0, 0, 1]])
AFFINES = {
    "LPS": np.diag([-1.0, -1, 2.5, 1]),
    "RAS, thick along x": np.diag([3.0, 0.7, 0.9, 1]),
    "oblique": OBLIQUE,
}


def statistics(folder, spacing) -> str:
    path = folder / "list_statistics.json"
    path.write_text(json.dumps({"median_spacing": spacing}))
    return str(path)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
@pytest.mark.parametrize("spacing", [[1, 1, 2.5], [0.9375, 0.9375, 1.2]])
def test_there_and_back(tmp_path, affine, spacing):
    shape = (14, 18, 11)
    values = np.zeros(shape, np.uint8)
    values[4:10, 5:13, 3:8] = 1
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "P1.nii.gz")
    steps = Compose(
        [
            LoadVolumed("image", channels=1),
            Orientationd("image", axcodes="LPS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            PlainSpacingd("image", pixdim=median_spacing(statistics(tmp_path, spacing)), mode="nearest"),
        ]
    )
    item = steps({"image": str(tmp_path / "P1.nii.gz")})
    assert item["image"].pixdim.tolist() == pytest.approx(spacing)
    item["pred"] = item["image"].clone().to(torch.uint8)
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=True)(item)["pred"]
    assert back.shape == (1, *shape)
    SaveLabelMapd("pred", tmp_path)({"pred": back})
    source, written = nibabel.load(tmp_path / "P1.nii.gz"), nibabel.load(tmp_path / "P1_seg.nii.gz")
    assert written.shape == shape
    assert np.array_equal(written.affine, source.affine), "the affine of the input, bit for bit"
    # two roundings to a nearest voxel move an edge by one voxel at most
    found = np.asarray(written.dataobj)
    assert found[5:9, 6:12, 4:7].all()
    assert found.sum() == found[3:11, 4:14, 2:9].sum()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON with median_spacing"),
        ("[]", "no JSON with median_spacing"),
        ('{"classes": {}}', "no JSON with median_spacing"),
        ('{"median_spacing": [1, 1]}', r"median_spacing is \[1, 1\], expected three positive numbers"),
        ('{"median_spacing": [1, 1, 0]}', r"median_spacing is \[1, 1, 0\], expected three positive numbers"),
        ('{"median_spacing": "1x1x1"}', "median_spacing is 1x1x1, expected three positive numbers"),
    ],
)
def test_files_that_are_no_statistics(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        median_spacing(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json: No such file"):
        median_spacing(tmp_path / "nowhere.json")
