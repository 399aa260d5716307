"""95 % Hausdorff distance in mm."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine
from monai.data import MetaTensor, list_data_collate
from monai.handlers import from_engine
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from pu_unet_monai import handlers
from pu_unet_monai.metrics import HausdorffDistance95

NAN = math.nan
OBLIQUE = torch.tensor([[0.0, -2, 0, 7], [1, 0, 0, -3], [0, 0, 3, 11], [0, 0, 0, 1]])  # spacing 1, 2, 3


def dot(*voxel: int, shape: tuple[int, ...] = (6, 6, 6)) -> torch.Tensor:
    mask = torch.zeros(1, *shape, dtype=torch.uint8)
    mask[(0, *voxel)] = 1
    return mask


def score(prediction: torch.Tensor, truth: torch.Tensor) -> list[float]:
    return HausdorffDistance95()([prediction], [truth])[0].tolist()


@pytest.mark.parametrize(
    ("voxel", "expected"), [((3, 0, 0), 3.0), ((0, 3, 0), 6.0), ((0, 0, 3), 9.0), ((1, 1, 1), math.sqrt(14))]
)
def test_distance_is_in_mm_of_the_truths_affine(voxel, expected):
    truth = MetaTensor(dot(0, 0, 0), OBLIQUE)
    assert score(dot(*voxel), truth) == pytest.approx([expected])
    assert score(MetaTensor(dot(*voxel)), truth) == pytest.approx([expected]), "the prediction's affine does not count"


def test_without_an_affine_the_unit_is_the_voxel():
    assert score(dot(0, 0, 3), dot(0, 0, 0)) == [3]
    assert score(
        dot(0, 3, shape=(5, 5)), MetaTensor(dot(0, 0, shape=(5, 5)), torch.diag(torch.tensor([2.0, 4, 1])))
    ) == [12]


def test_every_item_has_its_own_spacing():
    truths = [MetaTensor(dot(0, 0, 0), torch.diag(torch.tensor([s, 1, 1, 1]))) for s in (1.0, 5.0)]
    predictions = [dot(2, 0, 0)] * 2
    assert HausdorffDistance95()(predictions, truths).tolist() == [[2], [10]]
    batch = list_data_collate(truths)
    assert HausdorffDistance95()(torch.stack(predictions), batch).tolist() == [[2], [10]]


def test_worked_percentile():
    # 39 of 40 voxels of the prediction lie on the truth, one 10 away: the 95th percentile is 0, the maximum 10
    truth, prediction = (torch.zeros(1, 40, 12, dtype=torch.uint8) for _ in range(2))
    truth[0, :, 0] = prediction[0, :39, 0] = prediction[0, 39, 10] = 1
    assert score(prediction, truth) == [0]
    # with 4 of 40 away: linear between the sorted distances, at .95 * 39 = 37.05
    prediction = truth.clone()
    prediction[0, 36:] = 0
    prediction[0, 36:, 10] = 1
    assert score(prediction, truth) == pytest.approx([10])


@pytest.mark.parametrize(
    ("prediction", "truth"), [(torch.zeros(1, 6, 6, 6), dot(1, 1, 1)), (dot(1, 1, 1), torch.zeros(1, 6, 6, 6))]
)
def test_an_empty_mask_has_no_distance(prediction, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(prediction, truth) == pytest.approx([NAN], nan_ok=True)
        assert score(truth, truth * 0) == pytest.approx([NAN], nan_ok=True)


def test_only_distances_count_in_the_mean():
    metric = HausdorffDistance95(reduction="mean_batch")
    none = torch.zeros(1, 6, 6, 6, dtype=torch.uint8)
    prediction = [torch.cat([dot(0, 0, 2), none]), torch.cat([dot(0, 0, 4), none])]
    truth = [torch.cat([dot(0, 0, 0), none]), torch.cat([none, dot(0, 0, 0)])]
    assert metric(prediction, truth).tolist() == [
        pytest.approx([2, NAN], nan_ok=True),
        pytest.approx([NAN, NAN], nan_ok=True),
    ]
    assert metric.aggregate().tolist() == pytest.approx([2, NAN], nan_ok=True)
    assert metric.aggregate("mean").item() == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.02, 0.9), st.integers(1, 4))
def test_agrees_with_all_pairs_of_surface_voxels(seed, density, depth):
    generator = np.random.default_rng(seed)
    masks = generator.random((2, 7, 6, depth)) < density
    found = score(*(torch.as_tensor(mask[None]) for mask in (masks[0],)), MetaTensor(masks[1][None], OBLIQUE))
    if not masks.any(axis=(1, 2, 3)).all():
        assert math.isnan(found[0])
        return
    surfaces = [np.argwhere(mask & ~binary_erosion(mask)) * [1, 2, 3] for mask in masks]
    distances = cdist(*surfaces)
    expected = max(np.percentile(distances.min(axis), 95) for axis in (0, 1))
    assert found == pytest.approx([expected], rel=1e-5)


def test_small_masks_in_a_whole_volume():
    truth = torch.zeros(1, 240, 240, 155, dtype=torch.uint8)
    truth[0, 60:130, 60:120, 40:100] = 1
    prediction = truth.roll((3, 4), (1, 2))
    near = (slice(None), slice(50, 140), slice(50, 130), slice(30, 110))
    found = score(prediction, MetaTensor(truth, torch.eye(4)))
    assert found == score(prediction[near], truth[near]) == pytest.approx([4], abs=1)


def test_handler():
    handler = handlers.HausdorffDistance95("mean_batch", from_engine(["pred", "label"]))
    engine = Engine(lambda _, batch: batch)
    handler.attach(engine, "hd95")
    truth = MetaTensor(dot(0, 0, 0), OBLIQUE)
    engine.run([[{"pred": dot(0, 0, 1), "label": truth}], [{"pred": dot(0, 1, 0), "label": truth}]])
    assert engine.state.metrics["hd95"] == pytest.approx(2.5)
    assert engine.state.metric_details["hd95"].tolist() == [[3], [2]]


def test_truth_of_the_same_shape_is_needed():
    with pytest.raises(ValueError, match="HausdorffDistance95 needs the truth"):
        HausdorffDistance95()(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        HausdorffDistance95()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 2, 4, 4))
