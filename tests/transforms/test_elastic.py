"""Deformation from displacements at a few knots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from pu_unet_monai.errors import UserError
from pu_unet_monai.transforms import RandCoarseElastic, RandCoarseElasticd


def image(*size: int) -> MetaTensor:
    """A smooth image of two channels on a grid of its own."""
    axes = np.meshgrid(*(np.arange(side) for side in size), indexing="ij")
    pixels = np.stack([np.sin(sum(axes) / 7), np.cos(axes[0] / 5)]).astype(np.float32)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))
    return MetaTensor(torch.from_numpy(pixels), affine=affine, meta={"filename_or_obj": "a.png"})


@pytest.mark.parametrize("size", [(20, 15), (12, 9, 7), (8, 1, 6)])
def test_without_displacement_nothing_changes(size):
    original = image(*size)
    torch.testing.assert_close(RandCoarseElastic(sigma=0, prob=1)(original), original, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "knots"), [((21, 33), 3), ((21, 33), (5, 2)), ((9, 13, 17), 3)])
def test_displacement_at_the_knots_is_what_was_drawn(size, knots):
    elastic = RandCoarseElastic(knots=knots, prob=1).set_random_state(0)
    elastic.randomize(len(size))
    field = elastic.displacement(size)
    assert field.shape == (len(size), *size)
    number = (knots,) * len(size) if isinstance(knots, int) else knots
    at = np.ix_(*(np.arange(0, side, (side - 1) // (count - 1)) for side, count in zip(size, number, strict=True)))
    np.testing.assert_allclose(field.numpy()[(slice(None), *at)], elastic.displacements, atol=1e-10)


def test_cubic_between_the_knots():
    # The natural spline through 0, 1, 0 at 0, 4, 8 is 3/2 t - t^3/2 on its first half, t = x / 4.
    elastic = RandCoarseElastic(prob=1)
    elastic.displacements = np.zeros((2, 3, 3))
    elastic.displacements[0, 1] = 1
    field = elastic.displacement((9, 5))
    half = [1.5 * t - 0.5 * t**3 for t in (0, 0.25, 0.5, 0.75, 1)]
    assert field[0, :, 2].tolist() == pytest.approx([*half, *half[-2::-1]], abs=1e-12)
    assert field[0, :, 0].tolist() == pytest.approx(field[0, :, 4].tolist())
    assert not field[1].any()


def test_standard_deviation_is_ten_pixels():
    elastic = RandCoarseElastic(prob=1).set_random_state(0)
    drawn = []
    for _ in range(300):
        elastic.randomize(2)
        drawn.append(elastic.displacement((65, 65))[:, ::32, ::32].numpy())
    assert np.shape(drawn) == (300, 2, 3, 3)  # 5400 numbers: the deviation is known to 1 %
    assert np.std(drawn) == pytest.approx(10, rel=0.05)
    assert np.mean(drawn) == pytest.approx(0, abs=0.7)
    neighbours = np.corrcoef(np.reshape(drawn, (300, 18)), rowvar=False) - np.eye(18)
    assert np.abs(neighbours).max() < 0.25, "the knots are drawn apart"


def test_a_deviation_for_each_axis():
    elastic = RandCoarseElastic(sigma=(0, 4), prob=1).set_random_state(0)
    elastic.randomize(2)
    assert not elastic.displacements[0].any()
    assert elastic.displacements[1].any()


@pytest.mark.parametrize("size", [(40, 31), (16, 20, 12)])
def test_output_is_the_input_at_the_displaced_place(size):
    elastic = RandCoarseElastic(sigma=2, prob=1, padding_mode="border").set_random_state(1)
    original = image(*size)
    deformed = elastic(original)
    places = np.indices(size) + elastic.displacement(size).numpy()
    expected = [ndimage.map_coordinates(channel, places, order=1, mode="nearest") for channel in original.numpy()]
    np.testing.assert_allclose(deformed.numpy(), expected, atol=1e-5)
    assert np.abs(deformed.numpy() - original.numpy()).max() > 0.1


def test_metadata_stays():
    original = image(20, 15)
    deformed = RandCoarseElastic(prob=1)(original)
    assert isinstance(deformed, MetaTensor)
    assert torch.equal(deformed.affine, original.affine)
    assert deformed.meta["filename_or_obj"] == "a.png"
    assert (deformed.dtype, deformed.shape) == (torch.float32, original.shape)


@pytest.mark.parametrize("size", [(64, 48), (24, 20, 28)])
def test_image_and_label_move_together(size):
    """On pixels that hold their own place, the nearest is never more than half a pixel from the exact one."""
    places = torch.from_numpy(np.indices(size)).float()
    item = {"image": places, "label": places.clone(), "name": "a"}
    modes = {"mode": ["bilinear", "nearest"], "padding_mode": "border"}
    moved = RandCoarseElasticd(["image", "label"], sigma=5, prob=1, **modes).set_random_state(3)(item)
    assert moved["name"] == "a"
    assert torch.equal(moved["label"], moved["label"].round())
    assert (moved["image"] - moved["label"]).abs().max() <= 0.5 + 1e-4
    assert (moved["image"] - places).abs().max() > 3
    assert torch.equal(item["label"], places)


def test_seeds_reproduce():
    item = {"image": image(30, 30)}
    outputs = []
    for seed in (5, 5, 6):
        elastic = RandCoarseElasticd("image", prob=0.5).set_random_state(seed)
        outputs.append(torch.stack([elastic(item)["image"] for _ in range(8)]))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_probability():
    item = {"image": image(10, 10)}
    elastic = RandCoarseElasticd("image", prob=0.3).set_random_state(0)
    deformed = sum(not torch.equal(elastic(item)["image"], item["image"]) for _ in range(400))
    assert 85 < deformed < 155  # 120, four standard deviations of 9.2 either way
    assert RandCoarseElastic(prob=0)(item["image"]) is item["image"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="sigma: -1 and knots: 3, expected"):
        RandCoarseElasticd("image", sigma=-1)
    with pytest.raises(UserError, match="knots: 1, expected"):
        RandCoarseElastic(knots=1)
    elastic = RandCoarseElasticd(["image", "label"], prob=1)
    with pytest.raises(UserError, match="differ in size"):
        elastic({"image": image(8, 8), "label": image(8, 9)})
