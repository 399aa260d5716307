"""Precision, recall and F1 of every case and region."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.handlers import from_engine
from monai.metrics import compute_dice

from pu_unet_monai import handlers
from pu_unet_monai.metrics import RegionConfusion

NAN = math.nan

# prediction, truth, precision, recall, F1
TABLE = {
    "worked": ([1, 1, 1, 0, 0], [0, 1, 1, 1, 1], 2 / 3, 2 / 4, 4 / 7),
    "perfect": ([1, 0, 1, 0, 0], [1, 0, 1, 0, 0], 1, 1, 1),
    "nothing seen": ([0, 0, 0, 0, 0], [0, 1, 1, 0, 0], NAN, 0, 0),
    "nothing there": ([0, 1, 0, 0, 0], [0, 0, 0, 0, 0], NAN, NAN, NAN),
    "nothing there, nothing seen": ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0], NAN, NAN, NAN),
}
NAMES = ["precision", "recall", "f1 score"]


def masks(which: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return [MetaTensor(torch.tensor(row[which], dtype=dtype).reshape(1, 5, 1)) for row in TABLE.values()]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_scores_of_every_case(name, dtype):
    expected = [row[2 + NAMES.index(name)] for row in TABLE.values()]
    metric = RegionConfusion(name)
    scores = metric(masks(0, dtype), masks(1, dtype))
    assert scores.flatten().tolist() == pytest.approx(expected, nan_ok=True)
    scored = [value for value in expected if not math.isnan(value)]
    assert metric.aggregate().item() == pytest.approx(sum(scored) / len(scored))


# accuracy and specificity (Das 2025, section 2.6) of TABLE, and of an image that is all lesion
WITH_BACKGROUND = {
    "accuracy": [2 / 5, 1, 3 / 5, 4 / 5, 1, 3 / 5],
    "specificity": [0, 1, 1, 4 / 5, 1, NAN],
}


@pytest.mark.parametrize("name", WITH_BACKGROUND)
def test_background_counts_where_there_is_no_lesion(name):
    all_lesion = torch.tensor([1.0, 1, 1, 0, 0]).reshape(1, 5, 1), torch.ones(1, 5, 1)
    predictions, truths = ([*masks(which, torch.float32), all_lesion[which]] for which in (0, 1))
    metric = RegionConfusion(name, ignore_empty=False)
    expected = WITH_BACKGROUND[name]
    assert metric(predictions, truths).flatten().tolist() == pytest.approx(expected, nan_ok=True)
    scored = [value for value in expected if not math.isnan(value)]
    assert metric.aggregate().item() == pytest.approx(sum(scored) / len(scored))
    expected = [NAN if not truth.any() else value for truth, value in zip(truths, expected, strict=True)]
    assert RegionConfusion(name)(predictions, truths).flatten().tolist() == pytest.approx(expected, nan_ok=True)


def test_specificity_of_nothing_but_lesion_is_no_score():
    metric = RegionConfusion("specificity", ignore_empty=False)
    metric([torch.zeros(1, 4, 4)], [torch.ones(1, 4, 4)])
    assert math.isnan(metric.aggregate().item())


def test_f1_is_dice():
    prediction, truth = (torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(s)) > 0.7 for s in (0, 1))
    truth[1, 2] = False
    f1 = RegionConfusion("f1 score")(prediction, truth)
    assert f1.flatten().tolist() == pytest.approx(compute_dice(prediction, truth).flatten().tolist(), nan_ok=True)


def test_counts_of_a_whole_volume_are_exact():
    truth = torch.zeros(1, 240, 240, 155, dtype=torch.uint8)
    truth[0, :, :, :100] = 1
    prediction = truth.clone()
    prediction[0, 0, 0, :1] = 0
    recall = RegionConfusion("recall")([prediction], [truth]).item()
    assert recall == pytest.approx(1 - 1 / 5_760_000, abs=1e-8)
    assert recall < 1


def test_nothing_to_score_is_nan():
    metric = RegionConfusion("recall", reduction="mean_batch")
    metric([torch.ones(2, 4, 4)], [torch.cat([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)])])
    assert metric.aggregate().tolist() == pytest.approx([1, NAN], nan_ok=True)


def test_truth_is_needed():
    with pytest.raises(ValueError, match="RegionConfusion needs the truth"):
        RegionConfusion("recall")(torch.zeros(1, 1, 4, 4))


def test_handler_passes_its_options_on():
    handler = handlers.RegionConfusion(
        "recall", ignore_empty=False, reduction="mean_batch", output_transform=from_engine(["pred", "label"])
    )
    metric = handler.metric_fn
    assert (metric.metric_name, metric.ignore_empty, metric.reduction) == ("recall", False, "mean_batch")
