"""Looking at bundles, and at those of strangers before they are run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from data_prep import phantom
from pu_unet_monai.__main__ import main
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.trained_with import write_facts

PUBLISHED = ("pu_unet_kvasir", "pu_unet_busi", "pu_unet_isic2018", "pu_unet_brats", "r2_unet_isic2017")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


@pytest.fixture
def bundle(repository, tmp_path) -> Path:
    """A bundle with weights of its own, that a stranger could have changed."""
    folder = tmp_path / "pu_unet_kvasir"
    shutil.copytree(repository / "bundles" / "pu_unet_kvasir", folder, ignore=shutil.ignore_patterns("models"))
    change(folder / "configs" / "inference.json", {"channels": [8, 16], "image_size": 32})
    (folder / "models").mkdir()
    torch.save(PUUNet(channels=(8, 16)).state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    phantom.make(tmp_path / "phantom", layout="kvasir", number=2, size=32)
    return tmp_path / "phantom" / "images"


def change(path: Path, keys: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def predict(bundle: Path, images: Path, *more: str) -> int:
    return main(
        ["predict", "--bundle", str(bundle), "--input", str(images), "--output", str(images.parent / "out"), *more]
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_bundles_are_in_order(repository, capsys, name):
    assert main(["inspect", str(repository / "bundles" / name)]) == 0
    out = capsys.readouterr().out
    assert "train.json imports[0]: $import monai" in out
    assert "configs/inference.json: " in out
    assert "logging.conf handler_console: _target_ logging.StreamHandler" in out
    assert "nothing refers to" not in out
    assert out.endswith("0 problem(s)\n")


def test_every_problem_has_a_line(bundle, capsys, tmp_path):
    trap = tmp_path / "was_run"
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    del config["inferer"], config["preprocessing"]
    config["imagesize"] = 64
    config["run"].append(f"$__import__('os').mknod({str(trap)!r})")
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata["task"]
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata | {"version": 3}))
    torch.save({"a": Trap(trap)}, bundle / "models" / "model.pt")
    (bundle / "docs" / "passwords").symlink_to("/etc/passwd")
    assert main(["inspect", str(bundle)]) == 1
    out = capsys.readouterr().out
    assert not trap.exists()
    (idle,) = [line for line in out.splitlines() if line.startswith("inference.json: nothing refers to ")]
    assert idle.endswith(", imagesize; misspelled?")
    assert "inference.json does without the optional preprocessing (preprocessing)" in out
    problems = out.partition("6 problem(s):\n")[2].splitlines()
    for text in (
        "code: inference.json run[1]: $__import__('os')",
        "file: docs/passwords is a link to /etc/passwd, outside of the bundle",
        "file: models/model.pt would call posix.mknod",
        "missing: property inferer (inferer) in inference.json",
        "schema: metadata.json top: 'task' is a required property",
        "schema: metadata.json version: 3 is not of type 'string'",
    ):
        assert sum(line.strip().startswith(text) for line in problems) == 1, text


def test_damaged_bundle(bundle, capsys):
    (bundle / "configs" / "train.json").write_text("{")
    (bundle / "configs" / "metadata.json").unlink()
    assert main(["inspect", str(bundle)]) == 1
    out = capsys.readouterr().out
    assert "train.json: cannot be read" in out
    assert "missing: configs/metadata.json" in out


def test_no_bundle(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: not a bundle, there is no folder configs.\n"


def test_no_folder(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/nowhere: no such folder; check the path.\n"


def test_foreign_code_is_not_run_unless_trusted(bundle, images, capsys, tmp_path):
    trap = tmp_path / "was_run"
    change(bundle / "configs" / "inference.json", {"device": f"$__import__('os').mknod({str(trap)!r}) or 'cpu'"})
    assert predict(bundle, images) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "would run code that no segmentation needs: inference.json device: $__import__('os')" in error
    assert "if you trust its author, give --trust" in error
    assert not trap.exists()
    assert main(["export", "--bundle", str(bundle), "--output", str(tmp_path / "x")]) == 2
    for command in ("evaluate", "compare"):
        places = ["--bundle", bundle, "--dataset-dir", images, "--datalist", images, "--output", tmp_path / "x"]
        vary = ["--vary", "placement=all"] if command == "compare" else []
        assert main([command, *map(str, places), *vary]) == 2
        assert "would run code" in capsys.readouterr().err
    assert not trap.exists()
    assert predict(bundle, images, "--trust") == 0
    assert trap.exists()


@pytest.mark.parametrize(
    "facts",
    [
        {"image_size": "$__import__('os').mknod('was_run')"},
        {"channels": [8, "$__import__('os').mknod('was_run')"]},
        {"network": "pu_unet:act=$__import__('os').mknod('was_run')"},
        {"placement": "%/etc/passwd.json"},
        {"image_size": {"_target_": "os.mknod", "path": "was_run"}},
        {"channels": [8, {"_target_": "os.mknod", "path": "was_run"}]},
        {"network": 'pu_unet:channels={"_target_":"os.mknod","path":"was_run"}'},
    ],
)
def test_weights_bring_no_code_in_what_they_say_of_themselves(bundle, images, capsys, monkeypatch, tmp_path, facts):
    monkeypatch.chdir(tmp_path)
    write_facts(bundle / "models" / "model.pt", facts)
    assert main(["inspect", str(bundle)]) == 1
    ((key, value),) = facts.items()
    assert f"file: models/model.json holds what could be run: {key}: {value!r}" in capsys.readouterr().out
    assert predict(bundle, images) == 2
    assert (
        f"model.json: {next(iter(facts))}: expected numbers, plain words and lists of them" in capsys.readouterr().err
    )
    assert not (tmp_path / "was_run").exists()


def test_malicious_weights_are_refused(bundle, images, capsys, tmp_path):
    torch.save({"a": Trap(tmp_path / "was_run")}, bundle / "models" / "model.pt")
    assert predict(bundle, images) == 2
    assert "loading it could run code, so it was refused" in capsys.readouterr().err
    assert not (tmp_path / "was_run").exists()
