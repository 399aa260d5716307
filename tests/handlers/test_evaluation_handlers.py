"""Scores and gallery of an evaluation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from PIL import Image

from pu_unet_monai.evaluation import pictures
from pu_unet_monai.handlers import Gallery, ImageLevelFalsePositiveRate, ScoresWriter

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


def test_overlay_marks_the_outline_and_tints_the_inside():
    image = np.zeros((9, 9, 3), np.uint8)
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    drawn = pictures.overlay(image, mask, colour=(250, 100, 0))
    assert drawn[2, 4].tolist() == [250, 100, 0]
    assert drawn[4, 4].tolist() == [50, 20, 0]
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert not image.any(), "the image itself is left as it was"
