"""The job for a GPU, dry on a CPU: interrupted when its time is over, continued, and its weights carried home."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from data_prep import kvasir, pack, phantom
from experiments import train_gpu
from pu_unet_monai.errors import INTERRUPTED
from pu_unet_monai.runtime.weights import load_weights
from tests.bundles.conftest import REPOSITORY

BUNDLE = REPOSITORY / "bundles" / "pu_unet_kvasir"
SETTINGS = ("image_size=32", "channels=[8,8,16]", "batch_size=8", "num_workers=0", "max_epochs=20", "val_interval=5")


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    phantom.make(folder / "data", layout="kvasir", number=30, size=32)
    kvasir.prepare(folder / "data", folder / "datalist.json")
    pack.pack(folder / "data", folder / "datalist.json", 32, folder / "packed.zip")
    return folder / "packed.zip"


def run(packed: Path, output: Path, *more: str) -> int:
    arguments = ["--packed", packed, "--bundle", BUNDLE, "--output", output, "--vary", "placement=none"]
    settings = [text for setting in SETTINGS for text in ("--set", setting)]
    return train_gpu.main([*map(str, arguments), *settings, *more])


def test_out_of_time_then_continued(packed, tmp_path, monkeypatch):
    epochs = tmp_path / "compare" / "placement=none" / "seed_0" / "epochs.csv"
    real = time.monotonic
    monkeypatch.setattr(train_gpu.time, "monotonic", lambda: real() + 3600 * epochs.is_file())
    assert run(packed, tmp_path) == INTERRUPTED
    report = json.loads((tmp_path / "train_gpu.json").read_text())
    (cell,) = report["cells"]
    assert not cell["done"]
    assert 1 <= cell["epochs"] < 20
    trained = epochs.read_text()

    monkeypatch.undo()
    assert run(packed, tmp_path) == 0
    assert epochs.read_text().startswith(trained.rsplit("\n", 2)[0])
    report = json.loads((tmp_path / "train_gpu.json").read_text())
    (cell,) = report["cells"]
    assert (cell["variant"], cell["seed"], cell["epochs"], cell["done"]) == ("placement=none", 0, 20, True)
    assert 0 <= cell["scores"]["dice"]["mean"] <= 1
    path = train_gpu.join_pieces(tmp_path / cell["pieces"])
    half = torch.load(path, weights_only=True)
    trained = torch.load(tmp_path / "compare" / "placement=none" / "seed_0" / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(half[key], value.half()) for key, value in trained.items())


def test_pieces(tmp_path, monkeypatch):
    network = torch.nn.Linear(40, 50)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    monkeypatch.setattr(train_gpu, "PIECE", 1500)
    digest = train_gpu.write_pieces(tmp_path / "model.pt", tmp_path / "pieces")
    pieces = sorted((tmp_path / "pieces").iterdir())
    assert len(pieces) > 2
    assert max(piece.stat().st_size for piece in pieces) == 1500
    assert train_gpu.main(["--join", str(tmp_path / "pieces")]) == 0
    assert train_gpu.file_sha256(tmp_path / "pieces" / "model.pt") == digest
    again = torch.nn.Linear(40, 50)
    load_weights(again, tmp_path / "pieces" / "model.pt")
    torch.testing.assert_close(again.weight, network.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_piece_that_is_missing(tmp_path, monkeypatch, capsys, lost):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "model.pt")
    monkeypatch.setattr(train_gpu, "PIECE", 1000)
    train_gpu.write_pieces(tmp_path / "model.pt", tmp_path / "pieces")
    (tmp_path / "pieces" / f"model.pt.00{lost}").unlink()
    assert train_gpu.main(["--join", str(tmp_path / "pieces")]) == 2
    assert "expected model.pt.000 and on" in capsys.readouterr().err
    assert not (tmp_path / "pieces" / "model.pt").exists()


def test_last_piece_missing(tmp_path, monkeypatch, capsys):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "model.pt")
    monkeypatch.setattr(train_gpu, "PIECE", 1000)
    train_gpu.write_pieces(tmp_path / "model.pt", tmp_path / "pieces")
    sorted((tmp_path / "pieces").iterdir())[-1].unlink()
    assert train_gpu.main(["--join", str(tmp_path / "pieces")]) == 2
    assert "not a readable PyTorch file" in capsys.readouterr().err
    assert not (tmp_path / "pieces" / "model.pt").exists()


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"text", "no zip")])
def test_wrong_pack(tmp_path, capsys, content, message):
    if content:
        (tmp_path / "packed.zip").write_bytes(content)
    assert run(tmp_path / "packed.zip", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
