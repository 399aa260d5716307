"""What a user gets from ``python -m monai.bundle run`` for a mistake: one line, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from pu_unet_monai.images import read_mask
from tests.bundles.conftest import SMALL, Dataset, prepare, run_bundle

BUNDLE = "pu_unet_kvasir"


@pytest.fixture
def dataset(datasets) -> Dataset:
    return datasets(BUNDLE)


def fail(run_id: str, configs: list[str], overrides: dict[str, object], tmp_path: Path) -> str:
    """Run the bundle, which must fail with one line and leave no model, and return the line."""
    places = {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "out" / "models")}
    run = run_bundle(BUNDLE, run_id, configs, {**SMALL, **places, **overrides}, tmp_path)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout + run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.stderr.rstrip().endswith(line)
    return line


def files_under(folder: Path) -> list[str]:
    files = (path.name for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.startswith((".", "events")))


def test_dataset_dir_that_does_not_exist(dataset, tmp_path):
    overrides = dataset.overrides() | {"dataset_dir": str(tmp_path / "nowhere")}
    line = fail("training", ["train.json"], overrides, tmp_path)
    assert f"dataset_dir {tmp_path}/nowhere: no such folder" in line
    assert files_under(tmp_path) == []


def test_dataset_dir_of_other_images(dataset, tmp_path):
    line = fail("training", ["train.json"], dataset.overrides() | {"dataset_dir": str(tmp_path)}, tmp_path)
    assert "are not there: images/phantom" in line
    assert "Is it the folder that the datalist was made from?" in line


def test_datalist_that_does_not_exist(dataset, tmp_path):
    overrides = dataset.overrides() | {"datalist_file": "missing.json"}
    line = fail("training", ["train.json"], overrides, tmp_path)
    assert "datalist_file missing.json: no such file; write it with python -m data_prep." in line


def test_all_unreadable_images_are_named_at_once(dataset, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(dataset.folder, broken)
    first, second = (e["image"] for e in json.loads(dataset.datalist.read_text())["training"][1:3])
    (broken / first).write_bytes((broken / first).read_bytes()[:300])
    (broken / second).write_text("no image")
    places = {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "out" / "models")}
    overrides = {**SMALL, **dataset.overrides(), **places, "dataset_dir": str(broken)}
    run = run_bundle(BUNDLE, "training", ["train.json"], overrides, tmp_path)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout + run.stderr
    message = run.stderr[run.stderr.index("error: ") :]
    assert f"{broken / first}: not a readable image" in message
    assert f"{broken / second}: not a readable image" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("section", "workers"), [("training", 2), ("validation", 0)])
def test_mask_of_another_size(dataset, tmp_path, section, workers):
    """Also where nothing is cached, so that a worker finds it."""
    broken = tmp_path / "broken"
    shutil.copytree(dataset.folder, broken)
    entry = json.loads(dataset.datalist.read_text())[section][0]
    Image.new("L", (50, 60)).save(broken / entry["label"])
    overrides = dataset.overrides() | {"dataset_dir": str(broken), "cache_rate": 0.0, "num_workers": workers}
    line = fail("training", ["train.json"], overrides, tmp_path)
    assert "image and mask differ in size: " in line
    assert f"{entry['image']} is 48x36" in line
    assert f"{entry['label']} is 50x60" in line
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"placment": "none"}, "has no key placment (did you mean placement?)"),
        ({"positivity": "relu"}, "positivity must be one of softplus, lower_bound, got 'relu'"),
        ({"placement": "top"}, "placement must be one of none, bottleneck, low_resolution, all, got 'top'"),
        ({"channels": [12, 24]}, "num_groups=8 must divide every width, but does not divide [12]"),
        ({"network_def#in_channels": 1}, "expected an input of shape (batch, 1 channels, 2 spatial dimensions)"),
    ],
)
def test_network_that_cannot_be(dataset, tmp_path, override, expected):
    assert expected in fail("training", ["train.json"], dataset.overrides() | override, tmp_path)
    assert not list(tmp_path.rglob("*.pt"))


class Payload:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds a list, not a state dict"),
        ({"stem.0.weight": torch.zeros(8, 1, 3, 3)}, "does not fit the network"),
        ("payload", "loading it could run code, so it was refused"),
    ],
)
def test_weights_that_are_none(dataset, tmp_path, content, expected):
    models = tmp_path / "out" / "models"
    models.mkdir(parents=True)
    torch.save(Payload(tmp_path / "ran") if content == "payload" else content, models / "model.pt")
    line = fail("evaluating", ["train.json", "evaluate.json"], dataset.overrides(), tmp_path)
    assert "model.pt: " in line
    assert expected in line
    assert files_under(tmp_path) == ["model.pt"]


def test_loss_that_is_not_a_number(dataset, tmp_path):
    poison = tmp_path / "poison.json"
    poison.write_text(json.dumps({"+train#handlers": [{"_target_": "tests.bundles.faults.PoisonAt", "iteration": 8}]}))
    line = fail("training", ["train.json", str(poison)], dataset.overrides() | {"max_epochs": 3}, tmp_path)
    # 24 images in batches of 4: iteration 8 is the second of epoch 2, the next one meets the poison
    assert "the loss became nan at epoch 2, iteration 9" in line
    models = tmp_path / "out" / "models"
    assert files_under(models) == ["checkpoint_epoch=1.pt", "model.json", "model.pt"]
    kept = torch.load(models / "checkpoint_epoch=1.pt", weights_only=True)["network"]
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_no_readable_checkpoint_to_resume_from(dataset, tmp_path):
    models = tmp_path / "out" / "models"
    models.mkdir(parents=True)
    (models / "checkpoint_epoch=5.pt").write_bytes(b"")
    line = fail("training", ["train.json"], dataset.overrides() | {"resume": True}, tmp_path)
    assert "none of the 1 checkpoints can be read" in line


def test_inference_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    overrides = {"dataset_dir": str(tmp_path / "empty"), "output_dir": str(tmp_path / "out")}
    run = run_bundle(BUNDLE, "", ["inference.json"], overrides, tmp_path)
    assert run.returncode == 1
    assert "error: " in run.stderr
    assert "holds no image; expected files that end in .png" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_phantoms_have_lesion_free_images(tmp_path):
    """The false-positive rate needs them."""
    dataset = prepare(BUNDLE, tmp_path, number=30)
    masks = [read_mask(path) for path in (dataset.folder / "masks").iterdir()]
    assert sum(not mask.any() for mask in masks) == 3
