"""The grid of the paper on phantoms, with two of its variants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep import phantom
from experiments.paper import collect, grid
from experiments.paper.protocol import DATASETS, SETTINGS, VARIANTS
from pu_unet_monai.comparison.variants import make_variants
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.files import write_csv, write_json
from tests.bundles.conftest import REPOSITORY

QUICK = ("image_size=32", "channels=[8,8,16]", "max_epochs=1", "val_interval=1")


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    for name, dataset in DATASETS.items():
        phantom.make(tmp_path / "data" / dataset.folder, layout=name, number=30, size=32)
    return tmp_path / "data"


@pytest.mark.parametrize("name", DATASETS)
def test_variants_are_those_of_the_paper(name):
    config = json.loads((REPOSITORY / "bundles" / DATASETS[name].bundle / "configs" / "train.json").read_text())
    made = make_variants([f"network={','.join(VARIANTS)}"], config)
    options = [variant.overrides["network_def"] for variant in made]
    assert [o["placement"] for o in options[:4]] == ["none", "bottleneck", "low_resolution", "all"]
    assert (options[4]["positivity"], options[4]["placement"]) == ("lower_bound", "@placement")
    assert (options[5]["log_clip"], options[5]["placement"]) == (None, "@placement")
    assert config["placement"] == "low_resolution"
    assert SETTINGS.keys() <= config.keys()


def test_trains_and_can_be_repeated(data, tmp_path, monkeypatch, capsys):
    few = {name: VARIANTS[name] for name in ("pu_unet:placement=none", "pu_unet:log_clip=null")}
    monkeypatch.setattr(grid, "VARIANTS", few)
    settings = [part for text in QUICK for part in ("--set", text)]
    command = ["--data", str(data), "--output", str(tmp_path / "out"), "--datasets", "isic2018", "--seeds", "0"]
    assert grid.main([*command, *settings]) == 0
    datalist = json.loads((tmp_path / "out" / "isic2018.json").read_text())
    assert len(datalist["training"]) == 8  # of 24
    assert len(datalist["test"]) == 3
    results = json.loads((tmp_path / "out" / "isic2018" / "seed_0" / "compare.json").read_text())
    assert list(results["variants"]) == list(few)
    assert results["image_size"] == 32
    capsys.readouterr()
    assert grid.main([*command, *settings]) == 0
    assert capsys.readouterr().out.count("done before") == 2

    kept = tmp_path / "results"
    assert collect.main(["--grid", str(tmp_path / "out"), "--output", str(kept)]) == 0
    elsewhere = ["--output", str(tmp_path / "elsewhere"), "--results", str(kept)]  # a later --output counts
    assert grid.main([*command, *elsewhere, *settings]) == 0
    assert not (tmp_path / "elsewhere").exists()
    assert "2 kept before, 0 others" in capsys.readouterr().out


def test_what_could_not_be_put_together_is_not_trained(data, tmp_path, capsys):
    """Other configurations or cases than those of the trainings that are kept."""
    kept = tmp_path / "results" / "isic2018"
    settings = [part for text in QUICK for part in ("--set", text)]
    used = {**SETTINGS, **parse_settings(QUICK)}
    write_json(kept / "protocol.json", {"split": "test", "train.json (SHA-256)": "f00d", **used})
    write_csv(kept / "trainings.csv", [{"variant": "pu_unet:placement=none", "seed": 0, "done": 1}])
    command = ["--data", str(data), "--output", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
    assert grid.main([*command, "--datasets", "isic2018", *settings]) == 2
    assert "isic2018: keeps trainings of" in (said := capsys.readouterr().err)
    assert "train.json (SHA-256) 'f00d', not '" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["isic2018.json"]


def test_missing_dataset(tmp_path, capsys):
    assert grid.main(["--data", str(tmp_path), "--output", str(tmp_path / "out"), "--datasets", "busi"]) == 2
    assert "Dataset_BUSI_with_GT" in capsys.readouterr().err
