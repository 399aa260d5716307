"""Definitions that are repeated across configurations, and across sibling bundles, stay equal."""

from __future__ import annotations

import json

import pytest

from tests.bundles.conftest import BUNDLES, PU_BUNDLES, default

TOP_KEYS = {"image_size", "max_epochs"}
"""What sibling bundles may set differently, besides names and metrics."""
PU_KEYS = {"placement", "positivity", "log_clip"}
R2_KEYS = {"t", "separate_recurrent", "attention", "pos_weight"}
MODEL_KEYS = {"network_def", "loss", "trained_with"} | PU_KEYS | R2_KEYS
"""What bundles of another network may set differently besides."""
SHARED = [
    *("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "channels"),
    *("image_size", "amp", "device", "spatial_size", "network_def", "network"),
]
"""What train.json and inference.json define alike."""
SHARED_OF_NETWORK = {
    **dict.fromkeys(PU_BUNDLES, PU_KEYS),
    "r2_unet_isic2017": R2_KEYS - {"pos_weight"},
}
"""The options of the network that they define alike."""


def read(repository, bundle: str, name: str) -> dict:
    return json.loads((repository / "bundles" / bundle / "configs" / name).read_text())


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("key", SHARED)
def test_training_and_inference_agree(repository, bundle, key):
    assert read(repository, bundle, "train.json")[key] == default(read(repository, bundle, "inference.json")[key])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_training_and_inference_agree_on_the_network(repository, bundle):
    training, inference = read(repository, bundle, "train.json"), read(repository, bundle, "inference.json")
    for key in SHARED_OF_NETWORK[bundle]:
        assert training[key] == default(inference[key])
        assert f"@{key}" in json.dumps(training["network_def"])


@pytest.mark.parametrize("bundle", [*BUNDLES, "pu_unet_brats"])
def test_inference_takes_from_the_weights_what_the_training_wrote_beside_them(repository, bundle):
    training, inference = read(repository, bundle, "train.json"), read(repository, bundle, "inference.json")
    (writer,) = (h for h in training["train"]["handlers"] if h["_target_"].endswith(".TrainingCheckpoint"))
    asked = {key: value for key, value in inference.items() if str(value).startswith("$trained_with(")}
    assert writer["trained_with"] == "@trained_with"
    assert training["trained_with"] == {key: f"@{key}" for key in asked}
    assert all(value.startswith(f"$trained_with(@ckpt_dir, '{key}', ") for key, value in asked.items())
    assert all(training[key] == default(value) for key, value in asked.items())


@pytest.mark.parametrize("bundle", BUNDLES)
def test_inference_sees_images_as_the_validation_did(repository, bundle):
    training = read(repository, bundle, "train.json")
    inference = read(repository, bundle, "inference.json")
    steps = training["train"]["preprocessing"]["transforms"]
    references = training["validate"]["preprocessing"]["transforms"]
    validation = [steps[int(reference.rpartition("#")[2])] for reference in references]
    assert [step for step in validation if step["keys"] == "image"] == inference["preprocessing"]["transforms"]
    assert training["train"]["inferer"].get("inferer") == inference["inferer"].get("inferer")


@pytest.mark.parametrize("bundle", [name for name in BUNDLES if name != "pu_unet_kvasir"])
@pytest.mark.parametrize("name", ["train.json", "inference.json", "evaluate.json", "multi_gpu_train.json"])
def test_siblings_differ_only_at_the_top_and_in_metrics(repository, bundle, name):
    configs = []
    for config in (read(repository, "pu_unet_kvasir", name), read(repository, bundle, name)):
        others = TOP_KEYS if bundle in PU_BUNDLES else TOP_KEYS | MODEL_KEYS
        for key in others & config.keys():
            del config[key]
        if name == "train.json":
            del config["validate"]["additional_metrics"]
        config.pop("+validate#additional_metrics", None)
        configs.append(config)
    assert configs[0] == configs[1]


@pytest.mark.parametrize("name", ["logging.conf", "presets/original_recipe.json"])
def test_siblings_have_the_same_file(repository, name):
    texts = {(repository / "bundles" / bundle / "configs" / name).read_text() for bundle in BUNDLES}
    assert len(texts) == 1


@pytest.mark.parametrize("bundle", PU_BUNDLES)
def test_network_and_loss_of_the_design(repository, bundle):
    config = read(repository, bundle, "train.json")
    assert config["network_def"]["_target_"] == "pu_unet_monai.networks.nets.PUUNet"
    assert config["placement"] == "low_resolution"
    assert config["loss"] == {"_target_": "pu_unet_monai.losses.BCEFocalTverskyLoss"}


def test_network_and_loss_of_the_report(repository):
    config = read(repository, "r2_unet_isic2017", "train.json")
    assert config["network_def"]["_target_"] == "pu_unet_monai.networks.nets.R2UNet"
    assert (config["t"], config["separate_recurrent"], config["attention"]) == (2, False, True)
    assert config["loss"] == {"_target_": "pu_unet_monai.losses.DiceWeightedBCELoss", "pos_weight": "@pos_weight"}


@pytest.mark.parametrize("grid", ["", "_grid"])
def test_metrics_of_the_report(repository, grid):
    """Section 2.6: accuracy, sensitivity, specificity, Dice and Jaccard, of every image."""
    validation = read(repository, "r2_unet_isic2017", "train.json")["validate"]
    metrics = validation["key_metric"] | validation["additional_metrics"]
    pair = f"$monai.handlers.from_engine(['pred{grid}', 'label{grid}'])"
    for name in ("accuracy", "sensitivity", "specificity"):
        metric = metrics[f"{name}{grid}"]
        assert metric["metric_name"] == name
        assert metric.get("ignore_empty", True) == (name == "sensitivity")  # the background has scores without a lesion
    for name in ("dice", "iou", "accuracy", "sensitivity", "specificity"):
        assert metrics[f"{name}{grid}"]["output_transform"] == pair


@pytest.mark.parametrize("bundle", BUNDLES)
def test_recipe_of_the_design(repository, bundle):
    config = read(repository, bundle, "train.json")
    assert config["channels"] == [32, 64, 128, 256, 512]
    size_and_epochs = {"pu_unet_busi": (256, 150), "r2_unet_isic2017": (256, 200)}
    assert (config["image_size"], config["max_epochs"]) == size_and_epochs.get(bundle, (352, 200))
    assert (config["batch_size"], config["learning_rate"], config["seed"]) == (8, 3e-4, 42)
    assert config["training"] == "%run"
    assert config["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert config["optimizer"]["weight_decay"] == 1e-4
    schedule = config["lr_scheduler"]
    assert schedule["_target_"] == "monai.optimizers.WarmupCosineSchedule"
    assert (schedule["warmup_steps"], schedule["t_total"]) == (0, "@train#trainer#max_epochs")
    handlers = [handler["_target_"].rpartition(".")[2] for handler in config["train"]["handlers"]]
    # the guard before all, the checkpoint after the validation and the schedule, whose state it saves
    assert handlers == [
        "NonFiniteGuard",
        "GradientClipping",
        "ProductUnitMonitor",
        "TrainingProgressBar",
        "ValidationHandler",
        "TensorBoardStatsHandler",
        "EpochLog",
        "LrScheduleHandler",
        "TrainingCheckpoint",
    ]
    assert config["train"]["handlers"][1]["max_norm"] == 1.0
    steps = [step["_target_"].rpartition(".")[2] for step in config["train"]["preprocessing"]["transforms"]]
    random_steps = ["RandFlipd", "RandFlipd", "RandRotate90d", "RandAffined", "RandAdjustContrastd"]
    random_steps += ["RandScaleIntensityd", "RandShiftIntensityd", "RandGaussianSmoothd"]
    assert [step for step in steps if step.startswith("Rand")] == random_steps
