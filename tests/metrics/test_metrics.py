from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.handlers import from_engine

from pu_unet_monai import handlers
from pu_unet_monai.metrics import ImageLevelFalsePositiveRate, ThresholdedJaccard
from pu_unet_monai.metrics.reduction import reduce_or_nan

NAN = math.nan
REDUCTIONS = ["mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel", "none"]


def mask(first: int, last: int) -> torch.Tensor:
    """A row of 100 pixels, of which ``first`` to ``last`` (not included) are foreground."""
    row = torch.zeros(1, 10, 10)
    row.view(-1)[first:last] = 1
    return row


def batch(*masks: torch.Tensor) -> torch.Tensor:
    return torch.stack(masks)


# prediction, truth, intersection / union as it counts
JACCARD = {
    "perfect": (mask(0, 20), mask(0, 20), 1.0),
    "at the threshold": (mask(0, 13), mask(0, 20), 13 / 20),
    "at the threshold, larger": (mask(0, 100), mask(0, 65), 65 / 100),
    "just under": (mask(0, 11), mask(0, 17), 0.0),  # 11 / 17 = .647
    "just above": (mask(0, 15), mask(0, 23), 15 / 23),  # .652
    "shifted": (mask(2, 22), mask(0, 20), 18 / 22),
    "shifted far": (mask(10, 30), mask(0, 20), 0.0),  # 10 / 30
    "missed": (mask(0, 0), mask(0, 20), 0.0),
    "empty truth": (mask(0, 5), mask(0, 0), NAN),
    "both empty": (mask(0, 0), mask(0, 0), NAN),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8], ids=str)
@pytest.mark.parametrize("row", JACCARD.values(), ids=JACCARD.keys())
def test_jaccard(row: tuple[torch.Tensor, torch.Tensor, float], dtype: torch.dtype) -> None:
    prediction, truth, expected = row
    metric = ThresholdedJaccard()
    scores = metric(batch(prediction).to(dtype), batch(truth).to(dtype))
    assert scores.shape == (1, 1)
    assert scores.item() == pytest.approx(expected, nan_ok=True)
    assert metric.aggregate().item() == pytest.approx(expected, nan_ok=True)


def test_jaccard_threshold() -> None:
    prediction, truth, _ = JACCARD["shifted"]  # 18 / 22 = .818
    for threshold, expected in ((0.0, 18 / 22), (0.81, 18 / 22), (18 / 22, 18 / 22), (0.82, 0.0)):
        assert ThresholdedJaccard(threshold)(batch(prediction), batch(truth)).item() == pytest.approx(expected)


def test_jaccard_over_batches() -> None:
    metric = ThresholdedJaccard()
    for names in (("perfect", "at the threshold", "empty truth"), ("just under",)):
        metric(*(batch(*(JACCARD[name][i] for name in names)) for i in (0, 1)))
    # 1, .65 and 0; the image with empty truth is left out
    assert metric.aggregate().item() == pytest.approx(1.65 / 3)
    assert metric.get_buffer().flatten().tolist() == pytest.approx([1, 0.65, NAN, 0], nan_ok=True)
    assert metric.aggregate().item() == pytest.approx(1.65 / 3), "aggregating changed the scores"
    metric.reset()
    metric(batch(JACCARD["shifted"][0]), batch(JACCARD["shifted"][1]))
    assert metric.aggregate().item() == pytest.approx(18 / 22)


def jaccard_of_two_channels() -> dict[str, torch.Tensor]:
    # channels:     perfect        .65 / left out    -> image 1: 1, .65; image 2: 0 (under), left out
    prediction = torch.stack([torch.cat([mask(0, 20), mask(0, 13)]), torch.cat([mask(0, 11), mask(0, 5)])])
    truth = torch.stack([torch.cat([mask(0, 20), mask(0, 20)]), torch.cat([mask(0, 17), mask(0, 0)])])
    return {"y_pred": prediction, "y": truth}


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("mean", (0.825 + 0) / 2),  # MONAI's: over the channels of an image, then over images
        ("sum", 1.65),
        ("mean_batch", [0.5, 0.65]),
        ("sum_batch", [1, 0.65]),
        ("mean_channel", [0.825, 0]),
        ("sum_channel", [1.65, 0]),
        ("none", [1, 0.65, 0, NAN]),
    ],
)
def test_jaccard_reductions(reduction: str, expected: float | list[float]) -> None:
    metric = ThresholdedJaccard(reduction=reduction)
    metric(**jaccard_of_two_channels())
    expected = expected if isinstance(expected, list) else [expected]
    assert metric.aggregate().flatten().tolist() == pytest.approx(expected, nan_ok=True)
    other = ThresholdedJaccard(reduction="none")
    other(**jaccard_of_two_channels())
    assert other.aggregate(reduction).flatten().tolist() == pytest.approx(expected, nan_ok=True)


def test_jaccard_without_background() -> None:
    metric = ThresholdedJaccard(include_background=False)
    assert metric(**jaccard_of_two_channels()).flatten().tolist() == pytest.approx([0.65, NAN], nan_ok=True)


# prediction, truth, score
FALSE_POSITIVES = {
    "nothing there, nothing seen": (mask(0, 0), mask(0, 0), 0.0),
    "nothing there, one pixel seen": (mask(7, 8), mask(0, 0), 1.0),
    "nothing there, all seen": (mask(0, 100), mask(0, 0), 1.0),
    "lesion seen": (mask(0, 20), mask(0, 20), NAN),
    "lesion missed": (mask(0, 0), mask(0, 20), NAN),
    "lesion seen elsewhere": (mask(50, 60), mask(0, 20), NAN),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8], ids=str)
@pytest.mark.parametrize("row", FALSE_POSITIVES.values(), ids=FALSE_POSITIVES.keys())
def test_false_positive(row: tuple[torch.Tensor, torch.Tensor, float], dtype: torch.dtype) -> None:
    prediction, truth, expected = row
    metric = ImageLevelFalsePositiveRate()
    assert metric(batch(prediction).to(dtype), batch(truth).to(dtype)).item() == pytest.approx(expected, nan_ok=True)
    assert metric.aggregate().item() == pytest.approx(expected, nan_ok=True)


def test_false_positive_rate_over_batches() -> None:
    metric = ImageLevelFalsePositiveRate()
    names = list(FALSE_POSITIVES)
    for part in (names[:2], names[2:5], names[5:]):
        metric(*(batch(*(FALSE_POSITIVES[name][i] for name in part)) for i in (0, 1)))
    assert metric.aggregate().item() == pytest.approx(2 / 3)  # 2 of 3 images without a lesion
    assert metric.aggregate("sum").item() == 2
    metric.reset()
    metric(batch(mask(0, 0)), batch(mask(0, 0)))
    assert metric.aggregate().item() == 0


def test_false_positive_rate_by_channel() -> None:
    # Image 1: lesion in channel 0, none and something seen in channel 1. Image 2: no lesion, nothing seen.
    prediction = torch.stack([torch.cat([mask(0, 20), mask(3, 4)]), torch.cat([mask(0, 0), mask(0, 0)])])
    truth = torch.stack([torch.cat([mask(0, 20), mask(0, 0)]), torch.cat([mask(0, 0), mask(0, 0)])])
    metric = ImageLevelFalsePositiveRate(reduction="mean_batch")
    scores = metric(prediction, truth)
    assert scores.flatten().tolist() == pytest.approx([NAN, 1, 0, 0], nan_ok=True)
    assert metric.aggregate().tolist() == pytest.approx([0, 0.5])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("metric_type", [ThresholdedJaccard, ImageLevelFalsePositiveRate])
def test_nothing_to_score_is_nan(metric_type: type[Any], reduction: str) -> None:
    truth = mask(0, 0) if metric_type is ThresholdedJaccard else mask(0, 5)
    metric = metric_type(reduction=reduction)
    metric(batch(mask(0, 5), mask(0, 0)), batch(truth, truth))
    assert metric.aggregate().isnan().all()


def test_reduction_leaves_the_scores_alone() -> None:
    scores = torch.tensor([[1.0, NAN], [0.0, NAN]])
    assert reduce_or_nan(scores, "mean_batch").tolist() == pytest.approx([0.5, NAN], nan_ok=True)
    assert scores[:, 1].isnan().all()


@pytest.mark.parametrize("metric_type", [ThresholdedJaccard, ImageLevelFalsePositiveRate])
def test_truth_is_needed(metric_type: type[Any]) -> None:
    with pytest.raises(ValueError, match=f"{metric_type.__name__} needs the truth"):
        metric_type()(batch(mask(0, 1)))


@pytest.mark.parametrize("metric_type", [ThresholdedJaccard, ImageLevelFalsePositiveRate])
def test_shapes_must_agree(metric_type: type[Any]) -> None:
    with pytest.raises(ValueError, match="shape"):
        metric_type()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 2, 4, 4))


def run(table: dict[str, tuple[torch.Tensor, torch.Tensor, float]], handler: Any, name: str) -> Engine:
    """Evaluate a table in batches of decollated items, as MONAI's evaluators give them."""

    def process(_: Engine, rows: list[tuple[torch.Tensor, torch.Tensor, float]]) -> list[dict[str, torch.Tensor]]:
        return [{"pred": prediction, "label": truth} for prediction, truth, _ in rows]

    engine = Engine(process)
    handler.attach(engine, name)
    rows = list(table.values())
    engine.run([rows[:4], rows[4:5], rows[5:]], max_epochs=2)  # the second epoch starts anew
    return engine


HANDLERS = [
    (handlers.ThresholdedJaccard, {}, JACCARD, (1 + 0.65 + 0.65 + 15 / 23 + 18 / 22) / 8),
    (handlers.ThresholdedJaccard, {"threshold": 0.3}, JACCARD, (2 + 1.3 + 11 / 17 + 15 / 23 + 18 / 22 + 1 / 3 - 1) / 8),
    (handlers.ImageLevelFalsePositiveRate, {}, FALSE_POSITIVES, 2 / 3),
]


@pytest.mark.parametrize("from_config", [False, True], ids=["class", "config"])
@pytest.mark.parametrize(("handler_type", "options", "table", "expected"), HANDLERS)
def test_handlers(
    handler_type: type[Any],
    options: dict[str, float],
    table: dict[str, tuple[torch.Tensor, torch.Tensor, float]],
    expected: float,
    from_config: bool,
) -> None:
    if from_config:
        transform = "$monai.handlers.from_engine(['pred', 'label'])"
        target = f"pu_unet_monai.handlers.{handler_type.__name__}"
        parser = ConfigParser({"metric": {"_target_": target, "output_transform": transform} | options})
        handler = parser.get_parsed_content("metric")
        assert type(handler) is handler_type
    else:
        handler = handler_type(output_transform=from_engine(["pred", "label"]), **options)
    engine = run(table, handler, "score")
    assert engine.state.metrics["score"] == pytest.approx(expected)
    details = engine.state.metric_details["score"]
    assert details.shape == (len(table), 1)
    if not options:
        assert details.flatten().tolist() == pytest.approx([row[2] for row in table.values()], nan_ok=True)


def test_handler_without_details() -> None:
    handler = handlers.ThresholdedJaccard(output_transform=from_engine(["pred", "label"]), save_details=False)
    engine = run(JACCARD, handler, "score")
    assert "score" not in getattr(engine.state, "metric_details", {})


def test_handler_passes_its_options_on() -> None:
    jaccard = handlers.ThresholdedJaccard(0.4, include_background=False, reduction="mean_batch").metric_fn
    assert (jaccard.threshold, jaccard.include_background, jaccard.reduction) == (0.4, False, "mean_batch")
    assert handlers.ImageLevelFalsePositiveRate(reduction="sum").metric_fn.reduction == "sum"
