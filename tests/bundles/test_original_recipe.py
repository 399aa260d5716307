"""The recipe of the original U-Net, laid over the training of a 2D bundle."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from monai.bundle import ConfigParser

from pu_unet_monai.transforms import BoundaryWeightMap
from tests.bundles.conftest import BUNDLES, SMALL, run_bundle

RECIPE = "original_recipe.json"


@pytest.fixture(params=BUNDLES)
def configs(request, repository):
    return repository / "bundles" / request.param / "configs"


def test_what_it_changes(configs):
    recipe = json.loads((configs / "presets" / RECIPE).read_text())
    training = json.loads((configs / "train.json").read_text())
    assert (recipe["batch_size"], recipe["optimizer"]["momentum"]) == (1, 0.99)
    assert recipe["optimizer"]["_target_"] == "torch.optim.SGD"
    assert recipe["loss"] == {"_target_": "pu_unet_monai.losses.WeightedCrossEntropyLoss"}
    assert {key for key in recipe if "#" not in key} <= training.keys()
    # all steps of the bundle in their order; the weights before the first random step, so that they are cached
    steps = recipe["train#original_preprocessing"]["transforms"]
    number = len(training["train"]["preprocessing"]["transforms"])
    prefix = "%train#preprocessing#transforms#"
    assert [step for step in steps if isinstance(step, str)] == [f"{prefix}{index}" for index in range(number)]
    added = {step["_target_"].rpartition(".")[2]: steps[at + 1] for at, step in enumerate(steps) if type(step) is dict}
    assert list(added) == ["BoundaryWeightMapd", "ConcatItemsd", "RandCoarseElasticd"]
    first_random = added["ConcatItemsd"].removeprefix(prefix)
    names = [step["_target_"] for step in training["train"]["preprocessing"]["transforms"]]
    assert names[int(first_random)].startswith("Rand")
    assert not any(name.startswith("Rand") for name in names[: int(first_random)])


def test_weights_are_cached_and_move_with_the_mask(configs, datasets):
    parser = ConfigParser()
    parser.read_config([str(configs / "train.json"), str(configs / "presets" / RECIPE)])
    parser.update({**SMALL, **datasets(configs.parent.name).overrides()})
    dataset = parser.get_parsed_content("train#dataset")
    cached = [item["label"] for item in dataset._cache]
    assert all(label.shape == (2, 32, 32) for label in cached)
    assert all(torch.equal(label[1:], BoundaryWeightMap()(label[:1])) for label in cached)
    for label, item in zip(cached, dataset, strict=True):
        pairs = {tuple(pair) for pair in label.reshape(2, -1).T.tolist()}
        found = {tuple(pair) for pair in item["label"].reshape(2, -1).T.tolist()}
        assert found <= pairs | {(0, 0)}


@pytest.mark.parametrize("bundle", ["pu_unet_kvasir", "pu_unet_busi"])  # images with a lesion, and some without
def test_training(bundle, datasets, repository, tmp_path):
    overrides = {**SMALL, **datasets(bundle).overrides(), "output_dir": str(tmp_path), "max_epochs": 4}
    overrides |= {"ckpt_dir": str(tmp_path / "models"), "image_size": 48, "channels": [8, 16, 32]}
    del overrides["batch_size"]
    preset = str(repository / "bundles" / bundle / "configs" / "presets" / RECIPE)
    run = run_bundle(bundle, "training", ["train.json", preset], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    losses = [float(row["loss"]) for row in csv.DictReader((tmp_path / "epochs.csv").open())]
    assert losses[-1] < 0.9 * losses[0], losses
