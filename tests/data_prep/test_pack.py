from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import busi, kvasir, pack, phantom
from pu_unet_monai.data.datalist import load_datalist
from pu_unet_monai.images import read_mask, read_rgb


@pytest.fixture(scope="module", params=["kvasir", "busi"])
def dataset(request, tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    phantom.make(folder / "data", layout=request.param, number=24, size=64)
    {"kvasir": kvasir, "busi": busi}[request.param].prepare(folder / "data", folder / "datalist.json")
    return folder / "data", folder / "datalist.json"


def packed(dataset, tmp_path: Path, *options: str) -> Path:
    output = tmp_path / "packed.zip"
    arguments = ["--dataset-dir", dataset[0], "--datalist", dataset[1], "--output", output]
    assert pack.main([*map(str, arguments), *options]) == 0
    with zipfile.ZipFile(output) as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_unpacked_it_is_the_same_dataset_smaller(dataset, tmp_path):
    folder = packed(dataset, tmp_path, "--size", "32", "--quality", "95")
    for section in ("training", "validation", "test"):
        before = load_datalist(dataset[1], dataset[0], section)
        after = load_datalist(folder / "datalist.json", folder, section)
        assert [Path(e["image"]).stem for e in after] == [Path(e["image"]).stem for e in before]
        assert [e.get("class") for e in after] == [e.get("class") for e in before]
        for small, large in zip(after, before, strict=True):
            assert Image.open(small["image"]).size == (32, 32)
            expected = np.asarray(read_rgb(large["image"]).resize((32, 32), Image.Resampling.LANCZOS), int)
            assert np.abs(np.asarray(read_rgb(small["image"]), int) - expected).mean() < 6
            labels = large["label"] if isinstance(large["label"], list) else [large["label"]]
            share = np.any([read_mask(label) for label in labels], axis=0).mean()
            assert read_mask(small["label"]).mean() == pytest.approx(share, abs=0.03)
    assert json.loads((folder / "datalist.json").read_text())["packed"] == {"size": 32, "quality": 90 + 5}


def test_small_images_stay_as_they_are(dataset, tmp_path):
    folder = packed(dataset, tmp_path, "--size", "100")
    first = load_datalist(folder / "datalist.json", folder, "test")[0]
    assert Image.open(first["image"]).size == (64, 64)


def test_names_that_two_folders_share():
    names: set[str] = set()
    assert [pack._unused(stem, names) for stem in ("a", "b", "A", "a")] == ["a", "b", "A_2", "a_3"]


def test_wrong_use(dataset, tmp_path, capsys):
    arguments = ["--dataset-dir", dataset[0], "--datalist", dataset[1], "--output", tmp_path / "packed.tar"]
    assert pack.main([*map(str, arguments)]) == 2
    assert "expected the name of a .zip file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    volumes = tmp_path / "volumes.json"
    entry = {"image": "a.nii.gz", "label": "a.nii.gz"}
    volumes.write_text(json.dumps({name: [entry] for name in pack.SECTIONS}))
    (tmp_path / "a.nii.gz").write_bytes(b"")
    arguments = ["--dataset-dir", tmp_path, "--datalist", volumes, "--output", tmp_path / "packed.zip"]
    assert pack.main([*map(str, arguments)]) == 2
    assert "only 2D datasets are packed" in capsys.readouterr().err
    assert not (tmp_path / "packed.zip").exists()


@pytest.mark.parametrize("option", [("--size", "0"), ("--quality", "500")])
def test_numbers_out_of_range(dataset, tmp_path, capsys, option):
    arguments = ["--dataset-dir", dataset[0], "--datalist", dataset[1], "--output", tmp_path / "packed.zip", *option]
    assert pack.main([*map(str, arguments)]) == 2
    assert f"{' '.join(option)}: expected" in capsys.readouterr().err
