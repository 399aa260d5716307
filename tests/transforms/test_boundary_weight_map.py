"""Weights of the borders between objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor
from monai.transforms import Compose, ConcatItemsd, RandAffined, RandFlipd

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import BoundaryWeightMap, BoundaryWeightMapd


def label(*rows: str) -> np.ndarray:
    """A label (1, rows, columns), a digit for each pixel."""
    return np.array([[[int(pixel) for pixel in row] for row in rows]])


def test_two_cells_that_nearly_touch():
    # 12 pixels, 6 of them cells: both classes weigh 1. In the gaps d1 + d2 is 1 + 1, 1 + 2 or 2 + 1, 1 + 4 ...
    weights = BoundaryWeightMap()(label("011010220002"))
    assert weights.shape == (1, 1, 12)

    def border(d1, d2):
        return 1 + 10 * math.exp(-((d1 + d2) ** 2) / 50)

    expected = [border(1, 6), 1, 1, border(1, 3), 1, border(1, 1), 1, 1, border(1, 4), border(2, 5)]
    expected += [border(1, 6), 1]
    # the 2 at the end is the same cell as the other 2; so d2 of the pixels before it is the distance to cell 1
    assert weights[0, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_gap_of_one_pixel_in_a_mask():
    weights = BoundaryWeightMap()(label("1101", "1101", "1101", "1101"))[0]
    # 4 of 16 pixels are background: 16 / 8; 16 / 24 for the cells; d1 = d2 = 1
    assert weights[:, 2].tolist() == pytest.approx([2 + 10 * math.exp(-4 / 50)] * 4, rel=1e-6)
    assert weights[:, [0, 1, 3]].ravel().tolist() == pytest.approx([2 / 3] * 12, rel=1e-6)


def test_cells_that_touch_have_no_border():
    weights = BoundaryWeightMap(class_weights=(1, 2))(label("1122"))
    assert weights.ravel().tolist() == [2, 2, 2, 2]


def test_without_height_there_is_the_balance_alone():
    assert BoundaryWeightMap(w0=0, class_weights=(1, 2))(label("10010"))[0].ravel().tolist() == [2, 1, 1, 2, 1]


def test_diagonal_distance_and_other_numbers():
    # cells in opposite corners of 3 x 3; at the corner (0, 2) both are 2 away, in the middle sqrt(2)
    weights = BoundaryWeightMap(w0=3, sigma=1, class_weights=(1, 1))(label("100", "000", "007"))[0]
    assert weights[0, 2] == pytest.approx(1 + 3 * math.exp(-(4**2) / 2))
    assert weights[1, 1] == pytest.approx(1 + 3 * math.exp(-((2 * math.sqrt(2)) ** 2) / 2))
    assert weights[0, 0] == 1


@pytest.mark.parametrize("rows", [("0000", "0110", "0110", "0000"), ("0000", "0000"), ("111", "111")])
def test_one_cell_or_none_gives_the_balance_alone(rows):
    mask = label(*rows)
    weights = BoundaryWeightMap()(mask)
    share = mask.mean()
    expected = np.where(mask, 0.5 / share, 0.5 / (1 - share)) if 0 < share < 1 else np.ones_like(mask)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@given(hnp.arrays("uint8", st.sampled_from([(1, 9, 8), (1, 5, 6, 4)]), elements=st.integers(0, 3)), st.floats(0.5, 5))
@settings(max_examples=40, deadline=None)
def test_formula_pixel_by_pixel(instances, sigma):
    """Against the distances between all pairs of pixels."""
    found = BoundaryWeightMap(sigma=sigma, class_weights=(1, 2))(instances * 50)[0]
    labels = instances[0]
    numbers = [n for n in range(1, 4) if (labels == n).any()]
    expected = np.where(labels > 0, 2.0, 1.0)
    if len(numbers) > 1:  # else a mask, of parts
        for pixel in np.argwhere(labels == 0):
            far = sorted(np.linalg.norm(np.argwhere(labels == n) - pixel, axis=1).min() for n in numbers)
            expected[tuple(pixel)] += 10 * math.exp(-((far[0] + far[1]) ** 2) / (2 * sigma**2))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_windows_cut_off_nothing_that_counts():
    """Cells far apart and near, against distances over the whole image."""
    generator = np.random.default_rng(0)
    instances = np.zeros((1, 200, 150), dtype=np.int64)
    for number, (row, column) in enumerate(generator.integers(0, 140, (12, 2)), start=1):
        instances[0, row : row + 6, column : column + 5] = number
    found = BoundaryWeightMap(class_weights=(0, 0))(instances)[0]
    numbers = [n for n in np.unique(instances) if n]
    pixels = np.argwhere(instances[0] == 0)
    distances = [
        np.linalg.norm(pixels[:, None] - np.argwhere(instances[0] == n)[None], axis=2).min(axis=1) for n in numbers
    ]
    nearest = np.sort(distances, axis=0)[:2].sum(axis=0)
    np.testing.assert_allclose(found[instances[0] == 0], 10 * np.exp(-(nearest**2) / 50), rtol=1e-5, atol=2e-7)


def test_metadata_and_type_follow_the_label():
    pixels = torch.from_numpy(label("1010", "0000")).to(torch.uint8)
    mask = MetaTensor(pixels, affine=torch.diag(torch.tensor([2.0, 3, 1, 1])))
    weights = BoundaryWeightMap()(mask)
    assert isinstance(weights, MetaTensor)
    assert weights.dtype == torch.float32
    assert torch.equal(weights.affine, mask.affine)
    plain = BoundaryWeightMap()(mask.as_tensor().numpy())
    assert isinstance(plain, np.ndarray)
    assert np.array_equal(plain, weights.numpy())


def test_weights_move_with_the_label():
    """Joined to the label, every pixel keeps its weight through random transforms."""
    mask = MetaTensor(torch.zeros(1, 40, 40))
    mask[0, 5:15, 5:15] = 1
    mask[0, 17:30, 8:20] = 1
    weights = BoundaryWeightMap()(mask)
    known = {(float(m), round(float(w), 4)) for m, w in zip(mask.ravel(), weights.ravel(), strict=True)}
    moving = [
        RandFlipd("label", prob=1, spatial_axis=0),
        RandAffined("label", prob=1, rotate_range=0.5, mode="nearest", padding_mode="zeros"),
    ]
    steps = Compose([BoundaryWeightMapd("label"), ConcatItemsd(["label", "weight"], "label"), *moving])
    moved = steps.set_random_state(0)({"label": mask})["label"]
    assert moved.shape == (2, 40, 40)
    assert not torch.equal(moved[0], mask[0])
    found = {(float(m), round(float(w), 4)) for m, w in zip(moved[0].ravel(), moved[1].ravel(), strict=True)}
    assert found <= known | {(0.0, 0.0)}  # weight 0 outside the image
    assert max(w for _, w in found) == max(w for _, w in known) > 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w0": -1}, "w0: -1 and sigma: 5.0, expected"),
        ({"sigma": 0}, "sigma: 0, expected"),
        ({"class_weights": [1]}, r"class_weights: \[1\], expected two numbers"),
        ({"class_weights": [1, -2]}, r"class_weights: \[1, -2\], expected two numbers"),
        ({"keys": ["label", "image"]}, r"keys: \['label', 'image'\], expected one label"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        BoundaryWeightMapd(**{"keys": "label", **options})


def test_two_channels_are_refused():
    with pytest.raises(UserError, match="label: 2 channels, expected one"):
        BoundaryWeightMap()(np.zeros((2, 3, 3)))
