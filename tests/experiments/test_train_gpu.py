"""The job for a GPU, dry on a CPU: interrupted when its time is over, continued, and its weights carried home."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import pytest
import torch

from data_prep import kvasir, pack, phantom
from experiments import cell_pieces, train_gpu
from experiments.cell_pieces import join_pieces
from pu_unet_monai.errors import INTERRUPTED
from pu_unet_monai.files import read_csv
from pu_unet_monai.runtime.trained_with import read_facts
from pu_unet_monai.runtime.weights import load_weights
from tests.bundles.conftest import REPOSITORY

BUNDLE = REPOSITORY / "bundles" / "pu_unet_kvasir"
SETTINGS = ("image_size=32", "channels=[8,8,16]", "batch_size=8", "num_workers=0", "max_epochs=30", "val_interval=10")


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
    assert 1 <= cell["epochs"] <= 30
    trained = read_csv(epochs)[:-1]  # the last may be done again

    monkeypatch.undo()
    assert run(packed, tmp_path) == 0
    kept = read_csv(epochs)[: len(trained)]
    # a validation adds columns
    assert [{key: row[key] for key in before} for before, row in zip(trained, kept, strict=True)] == trained
    report = json.loads((tmp_path / "train_gpu.json").read_text())
    (cell,) = report["cells"]
    assert (cell["variant"], cell["seed"], cell["epochs"], cell["done"]) == ("placement=none", 0, 30, True)
    assert 0 <= cell["scores"]["dice"]["mean"] <= 1
    cell_folder = join_pieces(tmp_path / cell["pieces"])
    half = torch.load(cell_folder / "models" / "model.pt", weights_only=True)
    original = tmp_path / "compare" / "placement=none" / "seed_0"
    trained = torch.load(original / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(half[key], value.half()) for key, value in trained.items())
    assert (cell_folder / "scores.csv").read_text() == (original / "scores.csv").read_text()
    facts = read_facts(cell_folder / "models" / "model.pt")
    assert (facts["image_size"], facts["placement"]) == (32, "none")
    assert json.loads((cell_folder / "machine.json").read_text())["torch"] == torch.__version__


@pytest.fixture
def pieces(tmp_path, monkeypatch) -> Path:
    """The pieces of a training that is made up."""
    cell = tmp_path / "made_up"
    (cell / "models").mkdir(parents=True)
    torch.save(torch.nn.Linear(40, 50).state_dict(), cell / "models" / "model.pt")
    for name in ("config.json", "epochs.csv", "scores.csv", "done.json"):
        (cell / name).write_text(name)
    monkeypatch.setattr(cell_pieces, "PIECE", 1500)
    cell_pieces.write_pieces(cell, tmp_path / "pieces")
    return tmp_path / "pieces"


def test_pieces(pieces, capsys):
    written = sorted(pieces.glob("model.pt.*"))
    assert len(written) > 2
    assert max(piece.stat().st_size for piece in written) == 1500
    assert train_gpu.main(["--join", str(pieces)]) == 0
    assert capsys.readouterr().out.strip() == str(pieces / "cell")
    again = torch.nn.Linear(40, 50)
    load_weights(again, pieces / "cell" / "models" / "model.pt")
    assert train_gpu.main(["--join", str(pieces)]) == 0  # once more
    assert (pieces / "cell" / "scores.csv").read_text() == "scores.csv"


@pytest.mark.parametrize("lost", ["first", "last", "record"])
def test_a_piece_that_is_missing(pieces, capsys, lost):
    written = sorted(pieces.glob("model.pt.*"))
    gone = {"first": written[0], "last": written[-1], "record": pieces / "cell.json"}[lost]
    gone.unlink()
    assert train_gpu.main(["--join", str(pieces)]) == 2
    assert gone.name in capsys.readouterr().err
    assert not (pieces / "cell").exists()


@pytest.mark.parametrize("change", [{"pieces": "1"}, {"files": []}, {"machine": None}, {"trained_with": 3}], ids=str)
def test_a_record_that_is_damaged(pieces, capsys, change):
    record = json.loads((pieces / "cell.json").read_text()) | change
    (pieces / "cell.json").write_text(json.dumps(record))
    assert train_gpu.main(["--join", str(pieces)]) == 2
    assert f"cell.json: {next(iter(change))}: not what train_gpu writes" in capsys.readouterr().err


def test_a_piece_that_is_damaged(pieces, capsys):
    piece = pieces / "model.pt.001"
    content = bytearray(piece.read_bytes())
    content[700] ^= 1
    piece.write_bytes(content)
    assert train_gpu.main(["--join", str(pieces)]) == 2
    assert "a piece is damaged" in capsys.readouterr().err
    assert not (pieces / "cell").exists()


def test_a_record_that_writes_elsewhere_is_refused(pieces, capsys):
    record = json.loads((pieces / "cell.json").read_text())
    record["files"]["../outside.txt"] = "text"
    (pieces / "cell.json").write_text(json.dumps(record))
    assert train_gpu.main(["--join", str(pieces)]) == 2
    assert "../outside.txt" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_left_alone(packed, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    assert run(packed, tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "data" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), (b"text", "no zip")])
def test_wrong_pack(tmp_path, capsys, content, message):
    if content:
        (tmp_path / "packed.zip").write_bytes(content)
    assert run(tmp_path / "packed.zip", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "images/../../outside.txt"])
def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path, capsys, name):
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(name, "text")
    assert run(tmp_path / "packed.zip", tmp_path / "out") == 2
    assert "would write outside of its folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["packed.zip"]


def test_a_zip_that_would_fill_the_disk_is_refused(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("datalist.json", " " * 10_000_000)
    assert run(tmp_path / "packed.zip", tmp_path / "out") == 2
    assert "holds 10000000 bytes in a file of" in capsys.readouterr().err
