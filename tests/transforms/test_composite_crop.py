"""Cropping and padding to one window around a composite box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import CompositeCrop, CompositeCropd


def image(*shape: int, channels: int = 1) -> MetaTensor:
    """Distinct voxels other than 0, on a grid that is oblique and not isotropic."""
    affine = torch.tensor([[0.0, -2, 0, 7], [1, 0, 0, -3], [0, 0, 3, 11], [0, 0, 0, 1]])
    voxels = torch.arange(1, 1 + channels * torch.Size(shape).numel(), dtype=torch.float32)
    return MetaTensor(voxels.reshape(channels, *shape), affine, {"filename_or_obj": "imagesTr/case_01.nii.gz"})


def world(tensor: MetaTensor, voxel: list[int]) -> list[float]:
    return (tensor.affine @ torch.tensor([*voxel, 1.0], dtype=torch.float64))[:3].tolist()


def test_brain_report_window():
    volume = torch.zeros(4, 240, 240, 155, dtype=torch.uint8)
    volume[:, 60, 40, 0] = 1  # the first and the last voxel of the box
    volume[:, 199, 223, 154] = 2
    cropped = CompositeCrop((60, 40, 0), (200, 224, 155), (192, 192, 160))(volume)
    assert cropped.shape == (4, 192, 192, 160)
    # centres 130 and 132 less 96; 5 slices of padding, 2 of them before
    assert cropped[0].nonzero().tolist() == [[60 - 34, 40 - 36, 2], [199 - 34, 223 - 36, 156]]
    assert cropped[:, 26, 4, 2].tolist() == [1] * 4


def test_window_is_moved_into_the_image():
    for start, end, first in ((0, 6, 0), (1, 5, 0), (6, 8, 2), (7, 10, 2), (3, 8, 1)):
        cropped = CompositeCrop((start,), (end,), (8,))(torch.arange(10)[None])
        assert cropped[0].tolist() == list(range(first, first + 8)), (start, end)


def test_without_a_size_the_box_itself():
    cropped = CompositeCrop((1, 0, 2), (3, 4, 3))(image(4, 4, 4))
    assert torch.equal(cropped, image(4, 4, 4)[:, 1:3, :, 2:3])


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[int]]:
    """Start, end, size and shape of an image that holds the box."""
    axes = []
    for _ in range(3):
        length = draw(st.integers(1, 7))
        start = draw(st.integers(0, length - 1))
        end = draw(st.integers(start + 1, length))
        axes.append((start, end, draw(st.integers(end - start, 10)), length))
    start, end, size, shape = map(list, zip(*axes, strict=True))
    return start, end, size, shape


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans())
def test_box_is_kept_whole_in_a_window_of_the_size(window, lazy):
    start, end, size, shape = window
    original = image(*shape, channels=2)
    pipeline = Compose([CompositeCropd("image", start, end, size)], lazy=lazy)
    item = pipeline({"image": original})
    cropped = item["image"]
    assert cropped.shape == (2, *size)

    box = original[(slice(None), *map(slice, start, end))]
    at = [(cropped == box[0, 0, 0, 0]).nonzero()[0, 1 + d].item() for d in range(3)]
    assert torch.equal(
        cropped[(slice(None), *(slice(a, a + e - s) for a, s, e in zip(at, start, end, strict=True)))], box
    )
    assert world(cropped, at) == pytest.approx(world(original, start)), "a voxel is where it was in the patient"

    prediction = MetaTensor((cropped[:1] > 0).to(torch.uint8))
    back = Invertd("pred", pipeline, orig_keys="image")({**item, "pred": prediction})["pred"]
    assert back.shape == (1, *shape)
    assert torch.allclose(back.affine, original.affine)
    assert torch.equal(back[0, start[0], start[1], start[2]], torch.tensor(1, dtype=back.dtype))
    again = pipeline.inverse(item)["image"]
    kept = again != 0
    assert torch.equal(again[kept], original[kept]), "a voxel came back to another place"
    assert torch.equal(again[(slice(None), *map(slice, start, end))], box)


@pytest.mark.parametrize(
    ("start", "end", "size", "message"),
    [
        ((0, 0, 0), (9, 200, 9), (9, 192, 9), r"the box of \[9, 200, 9\] voxels must fit in"),
        ((0, 5, 0), (9, 5, 9), (9, 9, 9), "expected 0 <= start < end"),
        ((-1, 0, 0), (9, 9, 9), None, "expected 0 <= start < end"),
        ((0, 0), (9, 9, 9), None, "a number for every axis"),
        ((0, 0), (9, 9), (9, 9, 9), "a number for every axis"),
    ],
)
def test_wrong_box_is_refused(start, end, size, message):
    with pytest.raises(UserError, match=message):
        CompositeCropd("image", start, end, size)


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 4), (3, 9, 9)])
def test_image_that_does_not_hold_the_box_is_refused(shape):
    with pytest.raises(UserError, match=r"imagesTr/case_01\.nii\.gz: has .* voxels, but the composite box goes from"):
        CompositeCrop((0, 0, 0), (4, 4, 4), (8, 8, 8))(image(*shape))
