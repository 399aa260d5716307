"""The confusion matrix of an evaluation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score

from pu_unet_monai.data.label_numbering import CLASS_NAMES
from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.confusion_matrix import class_scores
from pu_unet_monai.handlers import ConfusionMatrixWriter

PAIR = from_engine(["pred", "label"])


def item(prediction: list[int], truth: list[int]) -> dict[str, torch.Tensor]:
    """Label maps (1, 2, 2, 1) as a batch of one; the network repeats the image."""
    image, label = (torch.tensor(values, dtype=torch.uint8).reshape(1, 1, 2, 2, 1) for values in (prediction, truth))
    return {"image": MetaTensor(image), "label": label}


def evaluate(tmp_path, items: list, names=CLASS_NAMES) -> dict[str, Any]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=items,
        network=torch.nn.Identity(),
        val_handlers=[ConfusionMatrixWriter(tmp_path, names, PAIR)],
    )
    evaluator.run()
    first = (tmp_path / "confusion_matrix.json").read_text()
    evaluator.run()
    assert (tmp_path / "confusion_matrix.json").read_text() == first, "a second run counted the first one's voxels"
    return json.loads(first)


def test_worked_numbers(tmp_path):
    items = [item([0, 1, 2, 2], [0, 1, 2, 1]), item([1, 1, 0, 2], [0, 1, 0, 0])]
    result = evaluate(tmp_path, items)
    assert result["cases"] == 2
    assert (result["rows"], result["columns"]) == ("truth", "prediction")
    assert result["classes"] == ["background", "non-enhancing core", "edema", "enhancing tumour"]
    assert result["voxels"] == [[2, 1, 1, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    scores = result["scores"]
    assert scores["background"] == {"precision": 1, "recall": 0.5, "f1": 4 / 6, "dice": 4 / 6, "empty": False}
    assert scores["non-enhancing core"] == {
        "precision": 2 / 3,
        "recall": 2 / 3,
        "f1": 4 / 6,
        "dice": 4 / 6,
        "empty": False,
    }
    assert scores["edema"] == {"precision": 1 / 3, "recall": 1, "f1": 0.5, "dice": 0.5, "empty": False}
    empty = {"precision": None, "recall": None, "f1": None, "dice": None, "empty": True}
    assert scores["enhancing tumour"] == empty
    assert np.asarray(Image.open(tmp_path / "confusion_matrix.png")).std() > 10


def test_background_everywhere_has_recall_0_and_no_precision(tmp_path):
    result = evaluate(tmp_path, [item([0, 0, 0, 0], [0, 1, 2, 3])])
    assert result["scores"]["edema"] == {"precision": None, "recall": 0, "f1": 0, "dice": 0, "empty": False}
    assert result["scores"]["background"]["precision"] == 0.25


def test_class_seen_where_there_is_none_has_precision_0_and_no_recall(tmp_path):
    result = evaluate(tmp_path, [item([3, 0, 0, 0], [0, 0, 0, 0])])
    assert result["scores"]["enhancing tumour"] == {
        "precision": 0,
        "recall": None,
        "f1": 0,
        "dice": 0,
        "empty": False,
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_agrees_with_scikit_learn(pairs):
    prediction, truth = (torch.tensor(values).reshape(1, -1) for values in zip(*pairs, strict=True))
    writer = ConfusionMatrixWriter("unused", "abc", lambda output: output)
    engine = type("Engine", (), {"state": type("State", (), {"output": ([prediction], [truth])})})()
    writer.start(engine)
    writer.add(engine)
    matrix = writer._matrix.numpy()
    assert np.array_equal(matrix, confusion_matrix(truth[0], prediction[0], labels=[0, 1, 2]))
    expected = f1_score(truth[0], prediction[0], labels=[0, 1, 2], average=None, zero_division=np.nan)
    found = [np.nan if score["f1"] is None else score["f1"] for score in class_scores(matrix, "abc").values()]
    assert found == pytest.approx(expected.tolist(), nan_ok=True)


@pytest.mark.parametrize("maps", [([0, 0, 0, 4], [0, 0, 0, 1]), ([0, 0, 0, 1], [0, 0, 0, 4])])
def test_value_that_is_no_class_is_refused(tmp_path, maps):
    with pytest.raises(UserError, match="holds values from 0 to 4, expected the indices 0 to 3 of class_names"):
        evaluate(tmp_path, [item(*maps)])
