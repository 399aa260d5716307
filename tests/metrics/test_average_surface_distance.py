"""Average surface distance in mm; what it shares with the Hausdorff distance is tested there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import from_engine
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from pu_unet_monai import handlers
from pu_unet_monai.metrics import AverageSurfaceDistance
from tests.metrics.test_hausdorff import OBLIQUE, dot


def score(prediction: torch.Tensor, truth: torch.Tensor) -> list[float]:
    return AverageSurfaceDistance()([prediction], [truth])[0].tolist()


def test_two_dots_are_their_distance_apart():
    assert score(dot(1, 1, 1), MetaTensor(dot(0, 0, 0), OBLIQUE)) == pytest.approx([math.sqrt(14)])


def test_mean_over_both_surfaces():
    truth = dot(0, 0, 0)
    prediction = truth | dot(0, 0, 3)
    # of three voxels of a surface two have one of the other at their place, one is 3 off
    assert score(prediction, truth) == pytest.approx([1.0])
    assert score(truth, prediction) == pytest.approx([1.0])


def test_is_that_of_all_pairs_of_surface_voxels():
    masks = [torch.from_numpy(np.random.default_rng(seed).random((1, 5, 6, 7)) < 0.3) for seed in (0, 1)]
    spacing = (1.0, 2.0, 0.5)
    surfaces = [np.argwhere(m[0].numpy() & ~binary_erosion(m[0].numpy())) * spacing for m in masks]
    distances = cdist(*surfaces)
    expected = np.concatenate([distances.min(axis=0), distances.min(axis=1)]).mean()
    truth = MetaTensor(masks[1].to(torch.uint8), torch.diag(torch.tensor([*spacing, 1.0])))
    assert score(masks[0].to(torch.uint8), truth) == pytest.approx([expected], rel=1e-5)


def test_empty_masks_have_no_distance():
    empty = torch.zeros(1, 6, 6, 6, dtype=torch.uint8)
    assert math.isnan(score(empty, dot(0, 0, 0))[0])
    assert math.isnan(score(dot(0, 0, 0), empty)[0])


def test_handler():
    handler = handlers.AverageSurfaceDistance("mean_batch", from_engine(["pred", "label"]))
    engine = Engine(lambda _, batch: batch)
    handler.attach(engine, "distance")
    engine.run([[{"pred": dot(0, 0, 2), "label": dot(0, 0, 0)}], [{"pred": dot(0, 0, 3), "label": dot(0, 0, 3)}]])
    assert engine.state.metrics["distance"] == pytest.approx(1.0)
    assert engine.state.metric_details["distance"].tolist() == [[2.0], [0.0]]
