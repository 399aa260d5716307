"""Minicubes, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Invertd

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import JoinMinicubes, JoinMinicubesd, SplitMinicubes, SplitMinicubesd


def volume(*shape: int) -> MetaTensor:
    affine = torch.diag(torch.tensor([2.0, 3, 4, 1]))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor(values, affine, {"filename_or_obj": "case_01.nii.gz"})


def test_raster_order_and_context():
    cubes = SplitMinicubes((2, 1), margin=(0, 1))(np.arange(1, 9).reshape(1, 4, 2))
    #  1 2      each two rows and one column, with a column of context
    #  3 4
    #  5 6
    #  7 8
    assert cubes[:, 0].tolist() == [
        [[0, 1, 2], [0, 3, 4]],
        [[1, 2, 0], [3, 4, 0]],
        [[0, 5, 6], [0, 7, 8]],
        [[5, 6, 0], [7, 8, 0]],
    ]


@pytest.mark.parametrize(("margin", "cube"), [(0, (96, 96, 80)), (10, (116, 116, 100))])
def test_brain_report_minicubes(margin, cube):
    image = torch.randint(0, 255, (1, 192, 192, 160), dtype=torch.uint8)
    cubes = SplitMinicubes((96, 96, 80), margin)(image)
    assert cubes.shape == (8, 1, *cube)
    assert cubes.dtype == torch.uint8
    last = cubes[7, :, margin : margin + 96, margin : margin + 96, margin : margin + 80]
    assert torch.equal(last, image[:, 96:, 96:, 80:])
    if margin:
        assert torch.equal(cubes[7, :, :106, :106, :90], image[:, 86:, 86:, 70:])
        assert not cubes[7, :, 106:].any()
    assert torch.equal(JoinMinicubes((192, 192, 160), margin)(cubes), image)


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Size of the minicubes, number of them and margin, by axis, for 2 or 3 axes."""
    axes = draw(st.integers(2, 3))
    return tuple(draw(st.lists(st.integers(*r), min_size=axes, max_size=axes)) for r in ((1, 4), (1, 3), (0, 5)))


@settings(max_examples=60, deadline=None)
@given(splits(), st.integers(1, 3))
def test_every_minicube_and_the_joined_volume(split, channels):
    size, grid, margin = split
    image = volume(channels, *(s * n for s, n in zip(size, grid, strict=True)))
    cubes = SplitMinicubes(size, margin)(image)
    assert cubes.shape == (np.prod(grid), channels, *(s + 2 * m for s, m in zip(size, margin, strict=True)))
    padded = np.pad(image.numpy(), [(0, 0), *((m, m) for m in margin)])
    for cube, at in zip(cubes, np.ndindex(*grid), strict=True):
        window = [slice(i * s, i * s + s + 2 * m) for i, s, m in zip(at, size, margin, strict=True)]
        assert np.array_equal(cube.numpy(), padded[(slice(None), *window)])
    assert torch.equal(JoinMinicubes(image.shape[1:], margin)(cubes), image)
    cores = cubes[(..., *(slice(m, m + s) for s, m in zip(size, margin, strict=True)))]
    assert torch.equal(JoinMinicubes(image.shape[1:])(cores), image)


@pytest.mark.parametrize("margin", [0, 2])
def test_inverse_gives_the_volume_back(margin):
    image = volume(2, 4, 6, 2)
    pipeline = Compose([Flipd("image", 0), SplitMinicubesd("image", (2, 3, 2), margin)])
    item = pipeline({"image": image})
    assert item["image"].shape[:2] == (4, 2)
    assert [entry["class"] for entry in item["image"].applied_operations] == ["Flip", "SplitMinicubes"]
    assert item["image"].meta["filename_or_obj"] == "case_01.nii.gz"
    back = pipeline.inverse(item)["image"]
    assert torch.equal(back, image)
    assert torch.equal(back.affine, image.affine)
    assert back.applied_operations == []


@pytest.mark.parametrize("margin", [0, 2])
def test_prediction_is_inverted(margin):
    image = volume(2, 4, 6, 2)
    pipeline = Compose([SplitMinicubesd("image", (2, 3, 2), margin)])
    item = pipeline({"image": image})
    item["pred"] = item["image"][:, :1] > 0
    back = Invertd("pred", pipeline, orig_keys="image", to_tensor=True)(item)["pred"]
    assert torch.equal(back.bool(), image[:1] > 0)


def test_dictionary_forms():
    item = {"image": volume(2, 4, 6, 2), "label": volume(1, 4, 6, 2), "other": 1}
    split = SplitMinicubesd(["image", "label"], 2, margin=1)(item)
    assert split["image"].shape == (6, 2, 4, 4, 4)
    joined = JoinMinicubesd(["image", "label"], (4, 6, 2), margin=1)(split)
    assert torch.equal(joined["image"], item["image"])
    assert torch.equal(joined["label"], item["label"])
    assert joined["other"] == 1


def test_size_that_does_not_divide_the_volume_is_refused():
    message = "case_01.nii.gz: 4x6x2 voxels cannot be split into minicubes of 4x4x2; crop and pad"
    with pytest.raises(UserError, match=message):
        SplitMinicubes((4, 4, 2))(volume(1, 4, 6, 2))


@pytest.mark.parametrize(
    ("shape", "margin"), [((4, 6, 4), 0), ((4, 6, 2), 1), ((4, 5, 2), 0), ((6, 6, 2), 0), ((4, 6, 2), 2)]
)
def test_minicubes_that_do_not_fill_the_volume_are_refused(shape, margin):
    cubes = SplitMinicubes((2, 3, 2))(volume(1, 4, 6, 2))
    with pytest.raises(UserError, match="do not fill a volume of"):
        JoinMinicubes(shape, margin)(cubes)
