from __future__ import annotations

import json

import pytest
import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.trained_with import read_facts, trained_with, write_facts


@pytest.fixture
def weights(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pt")
    write_facts(tmp_path / "model.pt", {"image_size": 96, "channels": [8, 16]})
    return tmp_path / "model.pt"


def test_weights_know_what_they_were_trained_with(weights):
    assert trained_with(weights.parent, "image_size", 352) == 96
    assert trained_with(str(weights.parent), "channels", [32]) == [8, 16]
    assert trained_with(weights.parent, "placement", "all") == "all"


def test_other_weights_are_not_taken_for_these(weights, caplog):
    torch.save({"a": torch.ones(3)}, weights)
    assert trained_with(weights.parent, "image_size", 352) == 352
    assert "model.json: is not of the weights beside it" in caplog.text
    write_facts(weights, {"image_size": 64})
    assert trained_with(weights.parent, "image_size", 352) == 64


def test_no_record(weights):
    (weights.parent / "model.json").unlink()
    assert trained_with(weights.parent, "image_size", 352) == 352
    assert trained_with(weights.parent / "nowhere", "image_size", 352) == 352


def test_damaged_record(weights):
    (weights.parent / "model.json").write_text(json.dumps({"image_size": 96})[:-3])
    with pytest.raises(UserError, match=r"model\.json: cannot be read"):
        trained_with(weights.parent, "image_size", 352)


@pytest.mark.parametrize("text", ["[1, 2]", '"text"', "{"])
def test_damaged_facts(tmp_path, text):
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match=r"model.json: cannot be read \(.*\); bring the one that the training wrote"):
        read_facts(tmp_path / "model.pt")
