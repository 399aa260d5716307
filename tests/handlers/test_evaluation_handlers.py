"""Scores and gallery of an evaluation."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import State
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.transforms import Orientation, SpatialCrop
from PIL import Image

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation import pictures
from pu_unet_monai.evaluation.grey import grey_levels
from pu_unet_monai.handlers import (
    ExamplesWriter,
    Gallery,
    HausdorffDistance95,
    ImageLevelFalsePositiveRate,
    RegionConfusion,
    ScoresWriter,
)

PAIR = from_engine(["pred", "label"])


def item(name: str, prediction: list[int], truth: list[int]) -> dict[str, torch.Tensor]:
    """A 2x2 image whose prediction the network repeats from its first channel."""
    image = torch.tensor(prediction, dtype=torch.float32).reshape(1, 2, 2).repeat(3, 1, 1)
    meta = {"filename_or_obj": f"images/{name}.jpg"}
    return {
        "image": MetaTensor(image[None], meta=meta),
        "label": torch.tensor(truth, dtype=torch.float32).reshape(1, 1, 2, 2),
    }


CASES = [
    item("c", [1, 1, 0, 0], [1, 0, 0, 0]),  # dice 2 / 3
    item("a", [0, 0, 0, 1], [0, 0, 0, 1]),  # dice 1
    item("b", [0, 0, 1, 0], [0, 0, 0, 0]),  # no lesion, but one seen
    item("d", [0, 0, 0, 0], [0, 0, 0, 0]),  # no lesion, and none seen
]


def evaluate(cases: list, handlers: list) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=cases,
        network=torch.nn.Identity(),
        inferer=lambda inputs, network: network(inputs)[:, :1],
        key_val_metric={"dice": MeanDice(output_transform=PAIR)},
        additional_metrics={"false_positive_rate": ImageLevelFalsePositiveRate(output_transform=PAIR)},
        val_handlers=handlers,
    ).run()


def test_scores_of_every_case_and_their_means(tmp_path):
    evaluate(CASES, [ScoresWriter(tmp_path, "test", seed=3)])
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [list(row.values()) for row in rows] == [
        ["a", "test", "3", "1.000000", ""],
        ["b", "test", "3", "", "1.000000"],
        ["c", "test", "3", "0.666667", ""],
        ["d", "test", "3", "", "0.000000"],
    ]
    assert json.loads((tmp_path / "scores.json").read_text()) == {
        "split": "test",
        "seed": 3,
        "means": {
            "dice": {"mean": pytest.approx(5 / 6), "cases": 2},
            "false_positive_rate": {"mean": 0.5, "cases": 2},
        },
    }


def test_mean_of_nothing_is_null(tmp_path):
    evaluate(CASES[2:], [ScoresWriter(tmp_path, "test", seed=0)])
    means = json.loads((tmp_path / "scores.json").read_text())["means"]
    assert means["dice"] == {"mean": None, "cases": 0}


def regions(name: str, prediction: list[list[int]], truth: list[list[int]]) -> dict[str, torch.Tensor]:
    """A 2x2x1 volume of 1 x 1 x 3 mm with two regions; the network repeats the image."""
    affine = torch.diag(torch.tensor([1.0, 1, 3, 1]))
    image, label = (torch.tensor(rows, dtype=torch.uint8).reshape(2, 2, 2, 1) for rows in (prediction, truth))
    meta = {"filename_or_obj": f"imagesTr/{name}.nii.gz"}
    return {"image": MetaTensor(image, affine, meta), "label": MetaTensor(label, affine, dict(meta))}


REGIONS = [
    regions("a", [[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]),
    regions("b", [[0, 1, 0, 0], [0, 0, 0, 0]], [[0, 1, 1, 0], [0, 0, 0, 1]]),
]


def evaluate_regions(handlers: list) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(REGIONS), batch_size=2),
        network=torch.nn.Identity(),
        key_val_metric={"dice": MeanDice(output_transform=PAIR)},
        additional_metrics={
            "hd95": HausdorffDistance95(output_transform=PAIR),
            "precision": RegionConfusion("precision", output_transform=PAIR),
            "recall": RegionConfusion("recall", output_transform=PAIR),
        },
        val_handlers=handlers,
    ).run()


def test_scores_of_regions(tmp_path):
    evaluate_regions([ScoresWriter(tmp_path, "test", seed=0, channel_names=["WT", "ET"])])
    rows = {row.pop("case"): row for row in csv.DictReader((tmp_path / "scores.csv").open())}
    known = {"split": "test", "seed": "0"}
    scores_a = {"dice_WT": "0.666667", "hd95_WT": "0.950000", "precision_WT": "0.500000", "recall_WT": "1.000000"}
    assert rows["a"] == known | scores_a | {"dice_ET": "", "hd95_ET": "", "precision_ET": "", "recall_ET": ""}
    scores_b = {"dice_WT": "0.666667", "precision_WT": "1.000000", "recall_WT": "0.500000"}
    missed = {"dice_ET": "0.000000", "hd95_ET": "", "precision_ET": "", "recall_ET": "0.000000"}
    assert rows["b"] == known | scores_b | missed | {"hd95_WT": f"{0.95 * 2**0.5:.6f}"}
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["empty"] == {"WT": 0, "ET": 1}
    assert content["means"]["dice_ET"] == {"mean": 0, "cases": 1}
    assert content["means"]["hd95_ET"] == {"mean": None, "cases": 0}


def test_channels_without_names_are_numbered(tmp_path):
    evaluate_regions([ScoresWriter(tmp_path, "test", seed=0)])
    content = json.loads((tmp_path / "scores.json").read_text())
    assert list(content["means"])[:2] == ["dice_0", "dice_1"]
    assert "empty" not in content


@pytest.mark.parametrize("names", [["WT"], ["TC", "WT", "ET"]])
def test_names_of_another_number_are_refused(tmp_path, names):
    with pytest.raises(UserError, match=r"channel_names: \[.*\], but the label of a has 2 channels"):
        evaluate_regions([ScoresWriter(tmp_path, "test", seed=0, channel_names=names)])


def test_gallery_goes_from_worst_to_best_and_then_to_no_lesion(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("pu_unet_monai.handlers.gallery.draw_gallery", lambda *args: drawn.append(args))
    evaluate(CASES, [Gallery(tmp_path / "gallery.png", count=10)])
    ((examples, path, title),) = drawn
    assert [example.title for example in examples] == [
        "c: dice 0.667",
        "a: dice 1.000",
        "d: no lesion",
        "b: no lesion",
    ]
    assert path == tmp_path / "gallery.png"
    assert title == "4 of 4 cases, worst to best by dice"
    # (width, height) becomes rows first
    assert examples[0].prediction.tolist() == [[True, False], [True, False]]
    assert examples[0].truth.tolist() == [[True, False], [False, False]]


def test_gallery_is_drawn(tmp_path):
    evaluate(CASES, [Gallery(tmp_path / "gallery.png", count=2)])
    assert np.asarray(Image.open(tmp_path / "gallery.png")).std() > 10


def test_examples_are_written_for_the_cases_asked_for(tmp_path):
    evaluate(CASES, [ExamplesWriter(tmp_path / "examples.npz", ["a", "c", "elsewhere"])])
    with np.load(tmp_path / "examples.npz") as arrays:
        assert arrays["cases"].tolist() == ["c", "a"]
        assert arrays["truth_0"].tolist() == [[True, False], [False, False]]
        assert arrays["prediction_0"].tolist() == [[True, False], [True, False]]
        assert arrays["prediction_1"].tolist() == arrays["truth_1"].tolist() == [[False, False], [False, True]]
        assert arrays["image_0"].shape == (2, 2, 3)
        assert "image_2" not in arrays


def test_overlay_marks_the_outline_and_tints_the_inside():
    image = np.zeros((9, 9, 3), np.uint8)
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    drawn = pictures.overlay(image, mask, colour=(250, 100, 0))
    assert drawn[2, 4].tolist() == [250, 100, 0]
    assert drawn[4, 4].tolist() == [50, 20, 0]
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert not image.any(), "the image itself is left as it was"


def brain(name: str, truth_at: int | None, prediction_at: int | None, codes: str) -> list[MetaTensor]:
    """Image, truth and prediction of 8x10x6 voxels in LPS, the image cropped, the masks turned to other axes.

    The first channel of the image is 10 * x + y + .1 * z, with x, y, z counted from 1, and 0 outside the brain.
    """
    affine = torch.diag(torch.tensor([-1.0, -1, 2, 1]))
    x, y, z = (a + 1 for a in torch.meshgrid(*map(torch.arange, (8, 10, 6)), indexing="ij"))
    image = torch.stack([10.0 * x + y + 0.1 * z, *torch.randn(3, 8, 10, 6)])
    image[:, :2] = 0
    masks = torch.zeros(2, 3, 8, 10, 6, dtype=torch.uint8)
    for mask, at in zip(masks, (truth_at, prediction_at), strict=True):
        if at is not None:
            mask[1, 3:6, 4:8, at] = 1
            mask[1, 3, 4, :] = 1
            mask[2, 6, 2, at] = 1
    meta = {"filename_or_obj": f"imagesTr/{name}.nii.gz"}
    cropped = SpatialCrop(roi_start=(1, 2, 1), roi_end=(8, 10, 6))(MetaTensor(image, affine, dict(meta)))
    turn = Orientation(codes, labels=None)
    return [cropped, *(turn(MetaTensor(mask, affine, dict(meta))) for mask in masks)]


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SLA"])
@pytest.mark.parametrize(("truth_at", "prediction_at", "shown"), [(4, 2, 4), (None, 2, 2), (None, None, 3)])
def test_gallery_of_a_volume(tmp_path, monkeypatch, truth_at, prediction_at, shown, codes):
    drawn = []
    monkeypatch.setattr("pu_unet_monai.handlers.gallery.draw_gallery", lambda *args: drawn.extend(args[0]))
    image, truth, prediction = brain("case_1", truth_at, prediction_at, codes)
    gallery = Gallery(tmp_path / "gallery.png")
    state = State(batch=[{"image": image}], output=[{"label": truth, "pred": prediction}], rank=0)
    state.key_metric_name, state.metric_details = "dice", {"dice": torch.tensor([[0.2, 0.6, torch.nan]])}
    engine = SimpleNamespace(state=state)
    gallery.start(engine)
    gallery.add(engine)
    gallery.draw(engine)
    (example,) = drawn
    assert example.title == "case_1: dice 0.400", "the mean over the regions that have a score"
    assert example.image.shape == (10, 8, 3)
    assert example.truth.shape == example.prediction.shape == (10, 8)

    expected = np.zeros((8, 10), bool)
    if truth_at is not None:
        expected[3:6, 4:8] = expected[6, 2] = True
    assert np.array_equal(example.truth.T, expected), "the union of the regions, rows from anterior to posterior"
    assert example.prediction[4, 3] == (prediction_at is not None)
    assert example.prediction[7, 5] == (prediction_at == shown)

    grey = example.image[..., 0].T.astype(float)
    x, y = np.meshgrid(np.arange(1, 9), np.arange(1, 11), indexing="ij")
    inside = (x > 2) & (y > 2)
    assert not grey[~inside].any(), "what the crop left out is black"
    assert np.corrcoef(grey[inside], (10 * x + y)[inside])[0, 1] > 0.99
    assert grey[inside].min() >= 12
    assert grey[inside].max() == 255


def test_grey_levels_of_normalised_intensities():
    grey = grey_levels(np.array([0, -2.0, 0.5, 3.0]))
    assert grey.tolist() == pytest.approx([0, 0.05, 0.525, 1.0], abs=0.02)
    assert grey_levels(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
    assert grey_levels(np.array([0, 7.0]))[1] > 0, "one intensity alone is still no background"
