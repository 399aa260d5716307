"""The report of an evaluation, by the command that users type."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from pu_unet_monai.__main__ import main
from pu_unet_monai.commands import evaluate as evaluate_command
from pu_unet_monai.errors import INTERRUPTED
from pu_unet_monai.runtime.trained_with import read_facts, write_facts
from tests.bundles.conftest import REPOSITORY, Dataset, prepare, run_bundle

BUNDLE = REPOSITORY / "bundles" / "pu_unet_busi"
SIZES = {"image_size": 32, "channels": [8, 8, 16], "num_workers": 0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return prepare("pu_unet_busi", tmp_path_factory.mktemp("data"), number=80)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory) -> Path:
    """The folder of a training's results."""
    output = tmp_path_factory.mktemp("run")
    places = {"dataset_dir": str(dataset.folder), "datalist_file": str(dataset.datalist)}
    places |= {"output_dir": str(output), "ckpt_dir": str(output / "models")}
    run = run_bundle("pu_unet_busi", "training", ["train.json"], places | SIZES | {"max_epochs": 2}, output)
    assert run.returncode == 0, run.stderr
    return output


def evaluate(dataset: Dataset, trained: Path, output: Path, *more: str) -> int:
    options = ["--bundle", BUNDLE, "--dataset-dir", dataset.folder, "--datalist", dataset.datalist, "--output", output]
    settings = {"num_workers": 0, "ckpt_dir": str(trained / "models")}  # sizes are in models/model.json
    pairs = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    return main(["evaluate", *map(str, options), *pairs, *more])


@pytest.fixture(scope="module")
def finished(dataset, trained, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("report")
    assert evaluate(dataset, trained, output) == 0
    return output


def test_scores_are_those_of_the_bundles_own_evaluation(finished, dataset, trained, tmp_path):
    places = {"dataset_dir": str(dataset.folder), "datalist_file": str(dataset.datalist)}
    places |= {"output_dir": str(tmp_path), "ckpt_dir": str(trained / "models")}
    run = run_bundle("pu_unet_busi", "evaluating", ["train.json", "evaluate.json"], places | SIZES, tmp_path)
    assert run.returncode == 0, run.stderr
    scores = [[*csv.DictReader((folder / "scores.csv").open(newline=""))] for folder in (finished, tmp_path)]
    groups = {Path(entry["image"]).stem: entry["group"] for entry in json.loads(dataset.datalist.read_text())["test"]}
    assert [row.pop("group") for row in scores[0]] == [groups[row["case"]] for row in scores[1]]
    assert scores[0] == scores[1]


def test_folders_whose_names_are_numbers(finished, dataset, trained, tmp_path, monkeypatch):
    """MONAI's command line takes 2018 for a number, and its folder ``1e3`` for another."""
    monkeypatch.chdir(tmp_path)
    Path("2018").symlink_to(dataset.folder)
    shutil.copytree(trained / "models", "3")
    options = ["--bundle", str(BUNDLE), "--dataset-dir", "2018", "--datalist", str(dataset.datalist)]
    assert main(["evaluate", *options, "--output", "1e3", "--set", "num_workers=0", "--set", "ckpt_dir=3"]) == 0
    assert (tmp_path / "1e3" / "scores.csv").read_text() == (finished / "scores.csv").read_text()


def test_weights_of_the_folder_that_one_is_in(finished, dataset, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained / "models")
    assert evaluate(dataset, trained, tmp_path, "--set", "ckpt_dir=.") == 0
    assert (tmp_path / "scores.csv").read_text() == (finished / "scores.csv").read_text()
    assert "The training" in (tmp_path / "report.html").read_text()


def test_facts_about_weights_choose_neither_images_nor_folders(finished, dataset, trained, tmp_path):
    weights = tmp_path / "models" / "model.pt"
    shutil.copytree(trained / "models", weights.parent)
    victim = tmp_path / "victim"
    places = {"output_dir": str(victim), "split": "training", "datalist_file": "none.json", "max_epochs": 1}
    write_facts(weights, read_facts(weights) | places)
    assert evaluate(dataset, tmp_path, tmp_path / "out") == 0
    assert not victim.exists()
    assert (tmp_path / "out" / "scores.csv").read_text() == (finished / "scores.csv").read_text()


def test_report_counts_what_the_scores_say(finished):
    with (finished / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    report = json.loads((finished / "report.json").read_text())
    dice = [float(row["dice"]) for row in rows if row["dice"]]
    normal = [row for row in rows if row["false_positive_rate"]]
    assert len(dice) + len(normal) == len(rows)
    assert normal, "a phantom of BUSI has images without a lesion"
    assert report["scores"]["dice"]["mean"] == pytest.approx(sum(dice) / len(dice))
    assert report["scores"]["false_positive_rate"]["cases"] == len(normal)
    assert report["made_with"]["split"] == "test"
    page = (finished / "report.html").read_text()
    assert "The training" in page  # the curves of epochs.csv beside the weights
    assert page.count("<img") > 2
    assert f"{report['scores']['dice']['mean']:.3f}" in page


def test_another_split(dataset, trained, tmp_path, finished):
    assert evaluate(dataset, trained, tmp_path, "--split", "validation") == 0
    cases = [{row["case"] for row in csv.DictReader((folder / "scores.csv").open())} for folder in (tmp_path, finished)]
    assert not cases[0] & cases[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "image_sise=32"], "image_sise (did you mean image_size?)"),
        (["--set", "output_dir=x"], "evaluate sets these itself"),
        (["--set", "ckpt_dir=nowhere"], "nowhere/model.pt: no such weights; train first"),
        (["--split", "tset"], "tset"),
        (["--datalist", "nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_wrong_use_is_one_line(dataset, trained, tmp_path, capsys, more, message):
    assert evaluate(dataset, trained, tmp_path / "out", *more) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_evaluation_that_fails(dataset, trained, tmp_path, capsys):
    folder = tmp_path / "bad"
    shutil.copytree(trained / "models", folder / "models")
    assert evaluate(dataset, folder, tmp_path / "out", "--set", "channels=[8,8,8]") == 2
    assert "evaluating.log: evaluating ended with exit code" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def test_images_of_one_name_are_refused(dataset, trained, tmp_path, capsys):
    datalist = json.loads(dataset.datalist.read_text())
    datalist["test"].append(datalist["test"][0])
    twice = tmp_path / "twice.json"
    twice.write_text(json.dumps(datalist))
    assert evaluate(dataset, trained, tmp_path / "out", "--datalist", str(twice)) == 2
    said = capsys.readouterr().err
    assert "twice.json: " in said
    assert Path(datalist["test"][0]["image"]).stem in said
    assert not (tmp_path / "out").exists()


def test_interrupted(dataset, trained, tmp_path, monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_command, "run_bundle", interrupt)
    assert evaluate(dataset, trained, tmp_path / "out") == INTERRUPTED
    assert capsys.readouterr().err == "interrupted; nothing was reported\n"
