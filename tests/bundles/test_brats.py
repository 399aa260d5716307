"""The bundle of brain MRI volumes, end to end, through the commands that its users type."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.transforms import Randomizable

import data_prep.brats
from data_prep import volume_phantom
from pu_unet_monai.data.volume_cases import find_volume_cases
from pu_unet_monai.inspection.completeness import SCHEMA
from pu_unet_monai.networks.nets import PUUNet
from tests.bundles.conftest import Dataset, command_line, default, run_bundle, run_python

BUNDLE = "pu_unet_brats"
SMALL = {
    **{"channels": [8, 16], "roi_size": [16, 16, 16], "batch_size": 2},
    **{"max_epochs": 2, "finetune_epochs": 1, "num_workers": 0},
}
SHAPE = (32, 36, 28)


@pytest.fixture(scope="module", params=["decathlon", "brats"])
def dataset(request, tmp_path_factory) -> Dataset:
    """Six phantoms in either layout, and their datalist."""
    folder = tmp_path_factory.mktemp("data")
    made = Dataset(folder / request.param, folder / "datalist.json")
    volume_phantom.make(made.folder, request.param, number=6, shape=SHAPE)
    assert data_prep.brats.main(["--source", str(made.folder), "--output", str(made.datalist)]) == 0
    return made


def overrides_of(dataset: Dataset, output: Path, **more: object) -> dict[str, object]:
    return {**SMALL, **dataset.overrides(), "output_dir": str(output), "ckpt_dir": str(output / "models"), **more}


def read(repository: Path, name: str) -> dict:
    return json.loads((repository / "bundles" / BUNDLE / "configs" / name).read_text())


def test_metadata_follows_the_schema(repository):
    meta_file = str(repository / "bundles" / BUNDLE / "configs" / "metadata.json")
    verify_metadata(meta_file=meta_file, filepath=str(SCHEMA))


@pytest.mark.parametrize("config", ["train.json", "inference.json"])
def test_network_matches_metadata(config, repository):
    configs = repository / "bundles" / BUNDLE / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / config)}
    verify_net_in_out(net_id="network_def", device="cpu", any=20, **files)


@pytest.mark.parametrize(("config", "kind"), [("train.json", "train"), ("inference.json", "infer")])
@pytest.mark.parametrize("dataset", ["decathlon"], indirect=True)
def test_all_properties_are_there(config, kind, repository, dataset, tmp_path):
    folder = repository / "bundles" / BUNDLE
    small = {key: value for key, value in SMALL.items() if kind == "train" or key in ("roi_size", "channels")}
    data = dataset.overrides() if kind == "train" else {"dataset_dir": str(dataset.folder / "imagesTr")}
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / config),
        meta_file=str(folder / "configs" / "metadata.json"),
        logging_file=str(folder / "configs" / "logging.conf"),
        workflow_type=kind,
        **{"bundle_root": str(folder), "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path / "models")},
        **small,
        **data,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    for name in workflow.properties:
        getattr(workflow, name)
    if kind == "train":
        workflow.run()
        assert (tmp_path / "models" / "model.pt").is_file()


def test_training_evaluating_and_inference(dataset, tmp_path):
    overrides = overrides_of(dataset, tmp_path)
    training = run_bundle(BUNDLE, "training", ["train.json"], overrides, tmp_path)
    assert training.returncode == 0, training.stderr
    assert "epoch 2/2: " in training.stdout
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert [int(row["epoch"]) for row in csv.DictReader((tmp_path / "epochs.csv").open())] == [1, 2]

    evaluating = run_bundle(BUNDLE, "evaluating", ["train.json", "evaluate.json"], overrides, tmp_path)
    assert evaluating.returncode == 0, evaluating.stderr
    entries = json.loads(dataset.datalist.read_text())["test"]
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert len(rows) == len(entries) == 1
    assert (tmp_path / "gallery.png").is_file()
    assert (tmp_path / "confusion_matrix.png").is_file()

    source = dataset.folder / ("imagesTr" if (dataset.folder / "imagesTr").is_dir() else ".")
    small = {key: overrides[key] for key in ("roi_size", "channels", "ckpt_dir")}
    small |= {
        "dataset_dir": str(source),
        "output_dir": str(tmp_path / "labels"),
        "runtime": "eager",
    }  # as the evaluation ran
    inference = run_bundle(BUNDLE, "", ["inference.json"], small, tmp_path)
    assert inference.returncode == 0, inference.stderr
    assert len(list((tmp_path / "labels").glob("*_seg.nii.gz"))) == 6

    # the scores, from the files alone
    (row,) = rows
    found = np.asarray(nibabel.load(tmp_path / "labels" / f"{row['case']}_seg.nii.gz").dataobj)
    label = np.asarray(nibabel.load(dataset.folder / entries[0]["label"]).dataobj)
    if source.name == "imagesTr":
        label = np.array([0, 2, 1, 3])[label]
    label = np.where(label == 4, 3, label)
    for region, values in {"TC": (1, 3), "WT": (1, 2, 3), "ET": (3,)}.items():
        truth, prediction = np.isin(label, values), np.isin(found, values)
        overlap = 2 * (truth & prediction).sum() / (truth.sum() + prediction.sum()) if truth.any() else None
        assert row[f"dice_{region}"] == ("" if overlap is None else pytest.approx(f"{overlap:.6f}"))
    confusion = json.loads((tmp_path / "confusion_matrix.json").read_text())
    expected = np.histogram2d(label.ravel(), found.ravel(), bins=np.arange(5) - 0.5)[0].astype(int)
    assert np.array_equal(confusion["voxels"], expected)


@pytest.mark.parametrize("dataset", ["decathlon"], indirect=True)
@pytest.mark.parametrize(("preset", "stages"), [("low_memory", 1), ("workstation", 2)])
def test_presets_run_and_say_what_they_need(repository, dataset, tmp_path, preset, stages):
    path = repository / "bundles" / BUNDLE / "configs" / "presets" / f"{preset}.json"
    overrides = overrides_of(dataset, tmp_path, max_epochs=1)
    del overrides["roi_size"], overrides["batch_size"], overrides["finetune_epochs"]
    run = run_bundle(BUNDLE, "training", ["train.json", str(path)], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if "memory of a training step, estimated: " in line]
    assert line.count(" GB for ") + line.count(" MB for ") == stages
    assert "free on cpu: " in line


def test_median_spacing_of_the_training_part(tmp_path):
    """Thick slices of three thicknesses: trained at the median, label maps on the grid of every file."""
    made = Dataset(tmp_path / "data", tmp_path / "list.json")
    volume_phantom.make(made.folder, "decathlon", number=6, shape=SHAPE)
    for path in made.folder.rglob("*.nii.gz"):
        image = nibabel.load(path)
        affine = image.affine @ np.diag([1, 1, 1.5 + 0.5 * (int(path.name[-8]) % 3), 1])
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)
    assert data_prep.brats.main(["--source", str(made.folder), "--output", str(made.datalist)]) == 0
    statistics = made.datalist.with_name("list_statistics.json")
    spacing = json.loads(statistics.read_text())["median_spacing"]
    assert spacing[2] > 1

    median = f"{{'_target_': 'pu_unet_monai.data.median_spacing', 'statistics_file': '{statistics}'}}"
    overrides = overrides_of(made, tmp_path, max_epochs=1, spacing=median)
    training = run_bundle(BUNDLE, "training", ["train.json"], overrides, tmp_path)
    assert training.returncode == 0, training.stderr
    small = {key: overrides[key] for key in ("roi_size", "channels", "ckpt_dir")}
    small |= {"dataset_dir": str(made.folder / "imagesTr"), "output_dir": str(tmp_path / "labels"), "spacing": spacing}
    inference = run_bundle(BUNDLE, "", ["inference.json"], small, tmp_path)
    assert inference.returncode == 0, inference.stderr
    sources = sorted((made.folder / "imagesTr").glob("*.nii.gz"))
    for source in sources:
        written = nibabel.load(tmp_path / "labels" / source.name.replace(".nii", "_seg.nii"))
        image = nibabel.load(source)
        assert written.shape == image.shape[:3]
        assert np.array_equal(written.affine, image.affine)


@pytest.mark.parametrize("dataset", ["decathlon"], indirect=True)
def test_resumed_training_is_the_unbroken_one_in_both_stages(dataset, tmp_path):
    """Killed in the patch stage and in the fine-tuning stage."""
    kill = tmp_path / "kill.json"
    last = {}
    for name, deaths in (("whole", []), ("killed", [7, 14])):  # four cases: iteration 7 is in epoch 2, 14 in epoch 4
        output = tmp_path / name
        more = {"max_epochs": 4, "finetune_epochs": 2, "num_workers": 1, "resume": True}
        overrides = overrides_of(dataset, output, **more)
        for iteration in deaths:
            kill.write_text(
                json.dumps({"+train#handlers": [{"_target_": "tests.bundles.faults.KillAt", "iteration": iteration}]})
            )
            args = command_line(BUNDLE, "training", ["train.json", str(kill)], overrides)
            assert run_python(args, tmp_path).returncode == -9
        run = run_bundle(BUNDLE, "training", ["train.json"], overrides, tmp_path)
        assert run.returncode == 0, run.stderr
        last[name] = torch.load(output / "models" / "checkpoint_epoch=4.pt", weights_only=True)["network"]
    assert all(torch.equal(last["whole"][key], last["killed"][key]) for key in last["whole"])


@pytest.mark.real_data
def test_the_same_patient_in_either_layout_gives_identical_tensors(repository, data_dir):
    parser = ConfigParser()
    parser.read_config(repository / "bundles" / BUNDLE / "configs" / "train.json")
    steps = parser.get_parsed_content("train#preprocessing").transforms
    steps = steps[: next(i for i, step in enumerate(steps) if isinstance(step, Randomizable))]
    (case,), _ = find_volume_cases(data_dir / "BraTS2021")
    task = data_dir / "Task01_BrainTumour"
    items = [
        {"image": [str(path) for path in case.images], "label": str(case.label), "numbering": "brats"},
        {
            "image": str(task / "imagesTr" / f"{case.name}.nii.gz"),
            "label": str(task / "labelsTr" / f"{case.name}.nii.gz"),
            "numbering": "decathlon",
        },
    ]
    for step in steps:
        items = [step(item) for item in items]
    assert items[0]["image"].shape == (4, 137, 163, 135)
    for key in ("image", "label"):
        assert torch.equal(items[0][key], items[1][key])
    assert items[0]["label"].sum(dim=(1, 2, 3)).tolist() == [23189 + 224, 27760 + 23189 + 224, 224]


SHARED = [
    *("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "channels", "placement", "positivity", "log_clip"),
    *("use_checkpoint", "spacing", "roi_size", "window", "memory_budget", "amp", "device", "network_def", "network"),
]


@pytest.mark.parametrize("key", SHARED)
def test_training_and_inference_agree(repository, key):
    assert read(repository, "train.json")[key] == default(read(repository, "inference.json")[key])


def test_inference_sees_volumes_as_training_and_validation_did(repository):
    training, inference = read(repository, "train.json"), read(repository, "inference.json")
    steps = training["train"]["preprocessing"]["transforms"]

    def of_images(step: dict) -> dict:
        keys = step["keys"] if isinstance(step["keys"], list) else [step["keys"]]
        known = {key: value for key, value in step.items() if key not in ("keys", "force")}
        return known if "image" in keys and "CheckSameGrid" not in step["_target_"] else {}

    first_random = next(i for i, step in enumerate(steps) if step["_target_"].startswith("Rand"))
    seen = [step for step in map(of_images, steps[:first_random]) if step]
    references = training["validate"]["preprocessing"]["transforms"]
    validation = [steps[int(ref.rpartition("#")[2])] if isinstance(ref, str) else ref for ref in references]
    assert [step for step in map(of_images, validation) if step] == seen
    assert [of_images(step) for step in inference["preprocessing"]["transforms"]] == seen
    assert training["validate"]["inferer"]["inferer"] == inference["inferer"]["inferer"]
    last = training["train"]["finetune_preprocessing"]["transforms"]
    prefix = [f"%train#preprocessing#transforms#{i}" for i in range(first_random)]
    assert last[: len(prefix)] == prefix
    assert "Crop" not in json.dumps(last[len(prefix) :])


def test_window_of_the_metadata(repository):
    assert read(repository, "metadata.json")["window"] == default(read(repository, "inference.json")["window"])


@pytest.mark.parametrize("name", ["low_memory", "workstation"])
def test_presets_set_keys_of_the_training_alone(repository, name):
    preset, training = read(repository, f"presets/{name}.json"), read(repository, "train.json")
    assert preset.keys() <= training.keys()
    assert not preset.keys() & {"network_def", "channels", "placement", "train", "validate"}
    if preset.get("finetune_epochs", training["finetune_epochs"]) == 0:  # weights of patches are judged by patches
        assert preset["window"] == preset["roi_size"]
    else:
        assert preset.get("window", training["window"]) == "foreground"


@pytest.mark.parametrize("config", ["train.json", "inference.json"])
def test_weights_stay_under_30_mb_in_half_precision(repository, config):
    parser = ConfigParser()
    parser.read_config(repository / "bundles" / BUNDLE / "configs" / config)
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, PUUNet)
    assert sum(parameter.numel() for parameter in network.parameters()) == 10_444_487
    assert 2 * 10_444_487 < 30e6


def test_metadata_speak_of_the_weights_that_are_there(repository):
    bundle = repository / "bundles" / "pu_unet_brats"
    notes = json.loads((bundle / "configs" / "metadata.json").read_text())["weights_notes"]
    assert list(notes) == [hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()]
