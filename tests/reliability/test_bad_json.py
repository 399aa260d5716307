"""Datalists, configurations, metadata and facts about weights of which anything may have been changed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pu_unet_monai.data import load_datalist
from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.trained_with import write_facts
from pu_unet_monai.transforms import LabelToRegionsd, LoadVolumed
from tests.conftest import REPOSITORY
from tests.reliability.bundles import small_bundle
from tests.reliability.mutations import any_json, mutated
from tests.reliability.tally import Tally, examples
from tests.reliability.trap import nothing_happens

KVASIR = REPOSITORY / "bundles" / "pu_unet_kvasir"
CONFIG = json.loads((KVASIR / "configs" / "inference.json").read_text()) | {"channels": [8, 16], "image_size": 32}
METADATA = json.loads((KVASIR / "configs" / "metadata.json").read_text())
DATALIST = {
    "name": "a dataset",
    "label_numbering": "decathlon",
    "training": [
        {"image": "a.png", "label": "b.png", "class": "benign"},
        {"image": "b.png", "label": ["a.png", "b.png"]},
    ],
    "validation": [{"image": "c.png", "label": "c.png", "channel_order": [1, 3, 2, 0]}],
    "test": [{"image": "c.png", "label": "b.png", "numbering": "brats", "channel_order": [0, 1, 2, 3]}],
}
FACTS = {
    "channels": [8, 16],
    "placement": "low_resolution",
    "positivity": "softplus",
    "log_clip": 10.0,
    "image_size": 32,
}
often = examples(short=60, full=2000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return small_bundle(REPOSITORY, "pu_unet_kvasir", tmp_path_factory.mktemp("bundle") / "pu_unet_kvasir")


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "four_channels.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 4), np.int16), np.eye(4)), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).touch()
    return folder


def assert_clear(tally: Tally, kind: str, error: UserError, *names: str) -> None:
    tally.errors[kind] += 1
    text = str(error)
    assert "\n" not in text
    assert any(name in text for name in names), text


@often
@example(content=DATALIST | {"label_numbering": ["brats"]}, section="test")
@example(content=DATALIST | {"test": [{**DATALIST["test"][0], "channel_order": [0, 1, 2, 9]}]}, section="test")
@given(content=mutated(DATALIST) | any_json(), section=st.sampled_from(["training", "validation", "test"]))
def test_datalists(folder, volume, tally, content, section):
    path = folder / "datalist.json"
    path.write_text(json.dumps(content))
    tally.tried["datalists"] += 1
    try:
        entries = load_datalist(path, folder, section)
    except UserError as error:
        assert_clear(tally, "datalists", error, "datalist.json", str(folder))
        return
    assert entries
    for entry in entries:
        LabelToRegionsd("label", default="brats")({**entry, "label": torch.zeros(1, 2, 2, 2)})
        LoadVolumed("image")({**entry, "image": str(volume)})
        labels = entry["label"] if isinstance(entry["label"], list) else [entry["label"]]
        for file in (entry["image"], *labels):
            assert Path(file).resolve().is_relative_to(folder)
            assert Path(file).is_file()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        json.dumps(DATALIST | {"test": [{"image": "a" * 300, "label": "b.png"}]}),
        json.dumps(DATALIST | {"test": [{"image": "a.png", "label": "b.png", "class": ["x"]}]}),
        json.dumps(DATALIST | {"test": [{"image": "/etc/passwd", "label": "b.png"}]}),
        json.dumps(DATALIST | {"training": [{"image": "../folder/a.png", "label": "b.png"}]}),
    ],
    ids=["deep", "long", "class", "absolute", "parent"],
)
def test_odd_datalists(folder, text):
    path = folder / "datalist.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"datalist\.json"):
        load_datalist(path, folder, "test")


@often
@given(content=mutated(CONFIG) | any_json())
def test_configurations(bundle, tally, content):
    build(bundle, tally, "inference.json", content, CONFIG)


@often
@given(content=mutated(METADATA) | any_json())
def test_metadata(bundle, tally, content):
    build(bundle, tally, "metadata.json", content, METADATA)


def build(bundle: Path, tally: Tally, name: str, content: object, good: object) -> None:
    """Build the bundle with a changed file: that works, or is one line that names the file, the bundle or the key."""
    path = bundle / "configs" / name
    path.write_text(json.dumps(content))
    tally.tried[name] += 1
    try:
        with nothing_happens():
            TrainedBundle(bundle)
    except UserError as error:
        assert_clear(tally, name, error, name, str(bundle), "weights", *CONFIG)
    finally:
        path.write_text(json.dumps(good))


@often
@given(content=mutated(FACTS) | st.dictionaries(st.sampled_from(sorted(FACTS) + ["network", "window"]), any_json()))
@example(content={"network": "cuda:7"})
@example(content={"network": 3})
def test_facts_about_weights(bundle, tally, content):
    weights = bundle / "models" / "model.pt"
    write_facts(weights, content)
    tally.tried["model.json"] += 1
    try:
        with nothing_happens():
            TrainedBundle(bundle)
    except UserError as error:
        assert_clear(tally, "model.json", error, "model.json", "model.pt", str(bundle), "network", *FACTS)
    finally:
        weights.with_suffix(".json").unlink()
