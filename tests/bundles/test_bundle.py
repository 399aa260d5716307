"""Every bundle, end to end, through the commands that its users type."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.transforms import Resize
from PIL import Image

from pu_unet_monai.inspection.completeness import SCHEMA
from pu_unet_monai.networks.nets import PUUNet
from tests.bundles.conftest import BUNDLES, PU_BUNDLES, SMALL, Dataset, run_bundle, small


@pytest.fixture(params=BUNDLES)
def bundle(request: pytest.FixtureRequest) -> str:
    return request.param


def overrides_of(dataset: Dataset, output: Path, **more: object) -> dict[str, object]:
    return {**SMALL, **dataset.overrides(), "output_dir": str(output), "ckpt_dir": str(output / "models"), **more}


def test_metadata_follows_the_schema(bundle, repository):
    meta_file = str(repository / "bundles" / bundle / "configs" / "metadata.json")
    verify_metadata(meta_file=meta_file, filepath=str(SCHEMA))


@pytest.mark.parametrize("config", ["train.json", "inference.json"])
def test_network_matches_metadata(bundle, config, repository):
    configs = repository / "bundles" / bundle / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / config),
        device="cpu",
        any=40,
    )


@pytest.mark.parametrize(("config", "kind"), [("train.json", "train"), ("inference.json", "infer")])
def test_all_properties_are_there(bundle, config, kind, repository, datasets, tmp_path):
    folder = repository / "bundles" / bundle
    dataset = datasets(bundle)
    overrides = {k: v for k, v in small(bundle).items() if kind == "train" or k in ("image_size", "channels")}
    images = dataset.folder / "images" if bundle == "pu_unet_kvasir" else _image_folder(dataset, tmp_path)
    data = dataset.overrides() if kind == "train" else {"dataset_dir": str(images)}
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / config),
        meta_file=str(folder / "configs" / "metadata.json"),
        logging_file=str(folder / "configs" / "logging.conf"),
        workflow_type=kind,
        bundle_root=str(folder),
        output_dir=str(tmp_path),
        ckpt_dir=str(tmp_path / "models"),
        **overrides,
        **data,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    for name in workflow.properties:
        getattr(workflow, name)  # a property that the configuration lacks raises here
    if kind == "train":
        workflow.run()
        assert (tmp_path / "models" / "model.pt").is_file()


def _image_folder(dataset: Dataset, tmp_path: Path) -> Path:
    """The test images of any layout in one folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for entry in json.loads(dataset.datalist.read_text())["test"]:
        image = dataset.folder / entry["image"]
        (folder / image.name).write_bytes(image.read_bytes())
    return folder


def test_training_evaluating_and_inference(bundle, datasets, tmp_path):
    dataset = datasets(bundle)
    overrides = overrides_of(dataset, tmp_path, **small(bundle))

    training = run_bundle(bundle, "training", ["train.json"], overrides, tmp_path)
    assert training.returncode == 0, training.stderr
    assert "epoch 2/2: " in training.stdout
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
        "model.json",
        "model.pt",
    ]
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert [int(row["epoch"]) for row in csv.DictReader((tmp_path / "epochs.csv").open())] == [1, 2]
    assert list((tmp_path / "tensorboard").glob("events*"))

    evaluating = run_bundle(bundle, "evaluating", ["train.json", "evaluate.json"], overrides, tmp_path)
    assert evaluating.returncode == 0, evaluating.stderr
    test_cases = sorted(Path(e["image"]).stem for e in json.loads(dataset.datalist.read_text())["test"])
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [row["case"] for row in rows] == test_cases
    assert list(rows[0])[:5] == ["case", "split", "seed", "dice", "iou"]
    assert {"dice_grid", "iou_grid"} <= set(rows[0])
    means = json.loads((tmp_path / "scores.json").read_text())["means"]
    dice = [float(row["dice"]) for row in rows if row["dice"]]
    assert means["dice"] == {"mean": pytest.approx(np.mean(dice), abs=1e-6), "cases": len(dice)}
    assert Image.open(tmp_path / "gallery.png").width > 500

    images = _image_folder(dataset, tmp_path)
    of_inference = {"ckpt_dir": overrides["ckpt_dir"]}  # the weights know the rest
    of_inference |= {"dataset_dir": str(images), "output_dir": str(tmp_path / "masks")}
    inference = run_bundle(bundle, "", ["inference.json"], of_inference, tmp_path)
    assert inference.returncode == 0, inference.stderr
    assert sorted(p.stem for p in (tmp_path / "masks").iterdir()) == test_cases
    for path in images.iterdir():
        mask = Image.open(tmp_path / "masks" / f"{path.stem}.png")
        assert mask.size == Image.open(path).size
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    for row in rows:
        prediction = np.asarray(Image.open(tmp_path / "masks" / f"{row['case']}.png")) > 0
        truth = truth_of(dataset, row["case"])
        assert prediction.shape == truth.shape == (36, 48)
        if truth.any():
            overlap = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
            assert float(row["dice"]) == pytest.approx(overlap, abs=1e-6)
            assert row["false_positive_rate"] == ""
        else:
            assert row["dice"] == ""
            assert float(row["false_positive_rate"]) == prediction.any()
        if bundle == "r2_unet_isic2017":
            check_pixel_scores(row, prediction, truth)


def check_pixel_scores(row: dict[str, str], prediction: np.ndarray, truth: np.ndarray) -> None:
    """Compare with shares of right pixels: of all, of the lesion and of the background."""
    right = prediction == truth
    for name, pixels in {"accuracy": right, "sensitivity": right[truth], "specificity": right[~truth]}.items():
        assert row[name] == (pytest.approx(f"{pixels.mean():.6f}") if pixels.size else "")
        assert bool(row[f"{name}_grid"]) == bool(pixels.size)


def truth_of(dataset: Dataset, case: str) -> np.ndarray:
    """The union of a case's masks, by plain Pillow."""
    (entry,) = [e for e in json.loads(dataset.datalist.read_text())["test"] if Path(e["image"]).stem == case]
    labels = entry["label"] if isinstance(entry["label"], list) else [entry["label"]]
    return np.any([np.asarray(Image.open(dataset.folder / label).convert("L")) > 127 for label in labels], axis=0)


def test_scores_on_the_grid(datasets, tmp_path):
    """Against plain PyTorch: what the network sees and says at 32x32, and the truth at that size."""
    dataset = datasets("pu_unet_kvasir")
    # at a high rate, for few logits near the threshold
    overrides = overrides_of(dataset, tmp_path, max_epochs=3, learning_rate=0.01, amp=False)
    assert run_bundle("pu_unet_kvasir", "training", ["train.json"], overrides, tmp_path).returncode == 0
    run = run_bundle("pu_unet_kvasir", "evaluating", ["train.json", "evaluate.json"], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    network = PUUNet(channels=SMALL["channels"]).eval()
    network.load_state_dict(torch.load(tmp_path / "models" / "model.pt", weights_only=True))
    to_grid = Resize((32, 32), mode="bilinear", anti_aliasing=True)
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "scores.csv").open())}
    for entry in json.loads(dataset.datalist.read_text())["test"]:
        row = rows[Path(entry["image"]).stem]
        pixels = torch.from_numpy(np.array(Image.open(dataset.folder / entry["image"]))).float() / 255
        with torch.no_grad():
            prediction = network(torch.as_tensor(to_grid(pixels.permute(2, 1, 0)))[None])[0, 0] > 0
        truth = torch.from_numpy(truth_of(dataset, row["case"]).T.copy()).float()
        truth = torch.nn.functional.interpolate(truth[None, None], (32, 32), mode="nearest-exact")[0, 0] > 0
        if truth.any():
            overlap = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
            assert float(row["dice_grid"]) == pytest.approx(overlap.item(), abs=5e-3)


@pytest.mark.parametrize("bundle", PU_BUNDLES, indirect=True)
@pytest.mark.parametrize(("value", "expected"), [(10.0, 10.0), (0, None), (None, None)])
def test_log_clip_of_0_switches_clipping_off(bundle, repository, value, expected):
    """MONAI's command line drops a None."""
    for name in ("train.json", "inference.json"):
        parser = ConfigParser()
        parser.read_config(repository / "bundles" / bundle / "configs" / name)
        parser.update({"log_clip": value, "channels": [8, 16]})
        assert parser.get_parsed_content("network_def").bottleneck.conv2.log_clip == expected


def test_device_may_be_a_string(bundle, repository, datasets, tmp_path):
    """As MONAI Label and the command line give it."""
    folder = repository / "bundles" / bundle / "configs"
    images = _image_folder(datasets(bundle), tmp_path)
    of_both = {"channels": small(bundle)["channels"], "image_size": 32, "device": "cpu"}
    training = {**of_both, **datasets(bundle).overrides(), "output_dir": str(tmp_path)}
    for name, more in (("train.json", training), ("inference.json", {**of_both, "dataset_dir": str(images)})):
        parser = ConfigParser()
        parser.read_config(folder / name)
        parser.read_meta(folder / "metadata.json")
        parser.update(more)
        engine = parser.get_parsed_content("train#trainer" if name == "train.json" else "evaluator")
        assert engine.state.device == torch.device("cpu")
        assert engine.amp is False


def test_schedule_follows_the_trainer(bundle, repository):
    """MONAI Label sets ``train#trainer#max_epochs`` alone."""
    parser = ConfigParser()
    parser.read_config(repository / "bundles" / bundle / "configs" / "train.json")
    parser.update({"train#trainer#max_epochs": 7, "channels": small(bundle)["channels"]})
    assert parser.get_parsed_content("lr_scheduler").t_total == 7


def test_key_leaves_the_normal_class_out(datasets, tmp_path):
    dataset = datasets("pu_unet_busi")
    overrides = overrides_of(dataset, tmp_path, exclude_classes=["normal"], max_epochs=1)
    assert run_bundle("pu_unet_busi", "training", ["train.json"], overrides, tmp_path).returncode == 0
    run = run_bundle("pu_unet_busi", "evaluating", ["train.json", "evaluate.json"], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    cases = [row["case"] for row in csv.DictReader((tmp_path / "scores.csv").open())]
    expected = [e for e in json.loads(dataset.datalist.read_text())["test"] if e["class"] != "normal"]
    assert sorted(cases) == sorted(Path(e["image"]).stem for e in expected)
    assert json.loads((tmp_path / "scores.json").read_text())["means"]["false_positive_rate"]["cases"] == 0


def test_one_override_gives_the_baseline_at_another_width(datasets, tmp_path):
    overrides = overrides_of(datasets("pu_unet_kvasir"), tmp_path, placement="none", channels=[16, 32], max_epochs=1)
    run = run_bundle("pu_unet_kvasir", "training", ["train.json"], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert not [name for name in weights if name.endswith("theta")]
    assert weights["stem.0.weight"].shape[0] == 16


def test_pretrained_weights_are_the_start_of_fine_tuning(datasets, tmp_path):
    dataset = datasets("pu_unet_kvasir")
    first, second = tmp_path / "first", tmp_path / "second"
    assert (
        run_bundle(
            "pu_unet_kvasir", "training", ["train.json"], overrides_of(dataset, first, max_epochs=1), tmp_path
        ).returncode
        == 0
    )
    pretrained = first / "models" / "model.pt"
    overrides = overrides_of(dataset, second, max_epochs=1, learning_rate=0.0, pretrained=str(pretrained), seed=7)
    run = run_bundle("pu_unet_kvasir", "training", ["train.json"], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    before, after = (torch.load(p / "models" / "model.pt", weights_only=True) for p in (first, second))
    assert all(torch.equal(before[name], after[name]) for name in before)
