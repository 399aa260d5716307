"""Comparisons on phantoms, by the command that users type."""

from __future__ import annotations

import csv
import functools
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data_prep.brats
from data_prep import volume_phantom
from pu_unet_monai.__main__ import main
from pu_unet_monai.networks import create_network
from tests.bundles.conftest import REPOSITORY, Dataset, prepare, run_bundle

BUNDLE = REPOSITORY / "bundles" / "pu_unet_kvasir"
DEEP = "unet_plus_plus:deep_supervision=true"
SETTINGS = ("max_epochs=1", "image_size=32", "channels=[8,8,8,8,16]", "batch_size=8", "num_workers=0")
FILES = ("compare.json", "compare.md", "compare.png", "costs.json", "scores.csv")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return prepare("pu_unet_kvasir", tmp_path_factory.mktemp("data"), number=40)


def arguments(dataset: Dataset, output: Path, vary: str, *more: str, settings=SETTINGS) -> list[str]:
    options = ["compare", "--bundle", BUNDLE, "--dataset-dir", dataset.folder, "--datalist", dataset.datalist]
    options += ["--output", output, "--vary", vary, *more]
    return [*map(str, options), *(text for setting in settings for text in ("--set", setting))]


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("finished")
    assert main(arguments(dataset, output, f"network=residual_unet,{DEEP}")) == 0
    return output


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_and_costs(finished):
    assert {path.name for path in finished.iterdir()} == {*FILES, "residual_unet", DEEP.replace(":", ",")}
    results = json.loads((finished / "compare.json").read_text())
    assert list(results["variants"]) == ["residual_unet", DEEP]
    for name, options in (("residual_unet", {}), ("unet_plus_plus", {"deep_supervision": True})):
        network = create_network(name, 2, 3, 1, channels=(8, 8, 8, 8, 16), **options)
        found = next(row for variant, row in results["variants"].items() if variant.startswith(name))
        assert found["parameters"] == sum(p.numel() for p in network.parameters())
        assert found["input_size"] == [8, 3, 32, 32]
        assert found["macs"] > 0
        assert found["step_seconds"] > 0
        assert found["step_bytes"] > 8 * 3 * 32 * 32 * 4


def test_scores_are_those_of_the_cells(finished):
    results = json.loads((finished / "compare.json").read_text())
    rows = read(finished / "scores.csv")
    test_cases = {row["case"] for row in rows}
    assert len(rows) == 2 * len(test_cases) == 8
    for name, folder in (("residual_unet", "residual_unet"), (DEEP, DEEP.replace(":", ","))):
        own = read(finished / folder / "seed_0" / "scores.csv")
        assert [row | {"variant": name} for row in own] == [row for row in rows if row["variant"] == name]
        dice = [float(row["dice"]) for row in own if row["dice"]]
        scores = results["variants"][name]["scores"]["dice"]
        assert scores["mean"] == pytest.approx(np.mean(dice), abs=1e-6)
        assert scores["interval"] is None or scores["interval"][0] <= scores["mean"] <= scores["interval"][1]
        assert f"{scores['mean']:.3f}" in (finished / "compare.md").read_text()
    first, second = (results["variants"][name]["scores"]["dice"] for name in ("residual_unet", DEEP))
    assert second["difference_from_first"] == pytest.approx(second["mean"] - first["mean"], abs=1e-6)


def test_cell_can_be_repeated_by_the_bundles_own_command(finished, tmp_path):
    """Without ``compare``: the overlay in the cell is all that it takes."""
    folder = finished / DEEP.replace(":", ",") / "seed_0"
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["model.json", "model.pt"]
    overrides = {"output_dir": str(tmp_path), "ckpt_dir": str(tmp_path / "models")}
    run = run_bundle("pu_unet_kvasir", "training", ["train.json", str(folder / "config.json")], overrides, tmp_path)
    assert run.returncode == 0, run.stderr
    weights, again = (torch.load(path / "models" / "model.pt") for path in (folder, tmp_path))
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    assert any("final_conv_0_1" in name for name in weights), "no deep supervision"


def test_picture_has_a_column_for_each(finished):
    examples = [np.load(path) for path in finished.glob("*/seed_0/examples.npz")]
    assert len(examples) == 2
    assert examples[0]["cases"].tolist() == examples[1]["cases"].tolist()
    assert np.array_equal(examples[0]["truth_0"], examples[1]["truth_0"])
    with Image.open(finished / "compare.png") as picture:
        assert picture.width / 3 == pytest.approx(picture.height / len(examples[0]["cases"]), rel=0.35)


def test_again_nothing_is_trained_and_the_rest_is_drawn_anew(finished, dataset, capsys):
    before = (finished / "compare.md").read_text()
    weights = {path: path.stat().st_mtime_ns for path in finished.rglob("model.pt")}
    (finished / "compare.png").unlink()
    assert main(arguments(dataset, finished, f"network=residual_unet,{DEEP}")) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert weights == {path: path.stat().st_mtime_ns for path in finished.rglob("model.pt")}
    assert (finished / "compare.md").read_text() == before
    assert (finished / "compare.png").is_file()


def test_what_the_command_does_not_name_is_said_to_be_left_out(finished, dataset, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    assert main(arguments(dataset, tmp_path / "copy", "network=residual_unet")) == 0
    said = capsys.readouterr().out
    assert f"done before, and not in this table: {DEEP.replace(':', ',')}/seed_0; name all" in said
    assert list(json.loads((tmp_path / "copy" / "compare.json").read_text())["variants"]) == ["residual_unet"]


def test_results_that_have_changed_are_not_tabled(finished, dataset, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    scores = tmp_path / "copy" / "residual_unet" / "seed_0" / "scores.csv"
    scores.write_text(scores.read_text().replace("0.", "0.9"))
    assert main(arguments(dataset, tmp_path / "copy", "network=residual_unet")) == 2
    assert "its weights or scores have changed since compare made them (of 1 such" in capsys.readouterr().err
    (scores.parent / "made_with.json").write_text("{")
    assert main(arguments(dataset, tmp_path / "copy", "network=residual_unet")) == 2
    assert "made_with.json: cannot be read" in capsys.readouterr().err


def test_other_settings_do_not_mix(finished, dataset, capsys):
    settings = (*SETTINGS[1:], "max_epochs=2")
    assert main(arguments(dataset, finished, "network=residual_unet", settings=settings)) == 2
    said = capsys.readouterr().err
    assert "was made with max_epochs 1, not 2 (of 1 such folders): choose another --output, or remove it" in said
    assert said.count("\n") == 1


def test_weights_predict_with_the_network_of_the_cell(finished, dataset, tmp_path):
    folder = finished / DEEP.replace(":", ",") / "seed_0"
    options = ["predict", "--bundle", str(BUNDLE), "--input", str(dataset.folder / "images"), "--output", str(tmp_path)]
    assert main([*options, "--set", f"ckpt_dir={folder / 'models'}"]) == 0
    assert len(list(tmp_path.glob("*_overlay.png"))) == 40


def test_weights_are_evaluated_with_the_network_of_the_cell(finished, dataset, tmp_path):
    """Also where its weights would fit the bundle's own, as those of another positivity map do."""
    lower_bound = "pu_unet:positivity=lower_bound"
    assert main(arguments(dataset, tmp_path, f"network={lower_bound}")) == 0
    folders = (finished / DEEP.replace(":", ","), tmp_path / lower_bound.replace(":", ","))
    for number, folder in enumerate(path / "seed_0" for path in folders):
        places = ["--bundle", BUNDLE, "--dataset-dir", dataset.folder, "--datalist", dataset.datalist]
        settings = ["--set", f"ckpt_dir={folder / 'models'}", "--set", "num_workers=0"]
        output = tmp_path / f"report_{number}"
        assert main(["evaluate", *map(str, places), "--output", str(output), *settings]) == 0
        found, expected = (read(path / "scores.csv") for path in (output, folder))
        assert found == [row | {"seed": "42"} for row in expected]


def test_original_network_by_the_original_recipe(dataset, tmp_path):
    network = "original_unet:channels=[4,8,8]"
    command = arguments(dataset, tmp_path, f"network={network}", "--vary", "preset=original_recipe")
    assert main(command) == 0
    results = json.loads((tmp_path / "compare.json").read_text())
    assert list(results["variants"]) == [f"{network}, preset=original_recipe"]
    folder = tmp_path / "original_unet,channels=4,8,8,preset=original_recipe" / "seed_0"
    assert read(folder / "epochs.csv")[0]["learning_rate"] == "0.001"
    assert "presets/original_recipe.json" in (folder / "training.log").read_text()


@pytest.fixture(scope="module")
def heads(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("heads")
    heads = Dataset(folder / "heads", folder / "heads.json")
    volume_phantom.make(heads.folder, number=4, shape=(32, 36, 28))
    assert data_prep.brats.main(["--source", str(heads.folder), "--output", str(heads.datalist)]) == 0
    return heads


def volume_arguments(heads: Dataset, output: Path, vary: str, *more: str) -> list[str]:
    settings = ("max_epochs=1", "channels=[8,8,16]", "roi_size=[16,16,16]", "num_workers=0", *more)
    command = arguments(heads, output, vary, settings=settings)
    command[command.index(str(BUNDLE))] = str(REPOSITORY / "bundles" / "pu_unet_brats")
    return command


def test_volumes(heads, tmp_path):
    assert main(volume_arguments(heads, tmp_path, "network=dynunet:deep_supervision=true", "finetune_epochs=0")) == 0
    (found,) = json.loads((tmp_path / "compare.json").read_text())["variants"].values()
    assert found["input_size"] == [1, 4, 16, 16, 16]
    assert {"dice_TC", "dice_WT", "dice_ET"} <= found["scores"].keys()
    assert (tmp_path / "compare.png").is_file()


def test_what_only_the_end_of_a_training_would_meet_is_met_before(heads, tmp_path, capsys):
    """UNETR takes one size, and not the whole boxes of the last epochs."""
    small = "network=unetr:feature_size=8:hidden_size=12:mlp_dim=16:num_heads=3"
    assert main(volume_arguments(heads, tmp_path, small, "finetune_epochs=1", "max_epochs=2")) == 2
    assert "takes images of size [16, 16, 16] only (its img_size), got [" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_of_one_name_are_refused(dataset, tmp_path, capsys):
    datalist = json.loads(dataset.datalist.read_text())
    datalist["test"].append(datalist["test"][0])
    twice = tmp_path / "twice.json"
    twice.write_text(json.dumps(datalist))
    command = arguments(dataset, tmp_path / "out", "placement=none,all")
    command[command.index("--datalist") + 1] = str(twice)
    assert main(command) == 2
    assert "several images of that name in the test split" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_does_not_stop_the_others(dataset, tmp_path, capsys):
    assert main(arguments(dataset, tmp_path, "learning_rate=1e30,0.001")) == 1
    said = capsys.readouterr().out
    assert "failed: learning_rate=1e30, seed 0: " in said
    assert "1 of 2 trainings done" in said
    results = json.loads((tmp_path / "compare.json").read_text())
    assert list(results["failed"]) == ["learning_rate=1e30, seed 0"]
    assert results["variants"]["learning_rate=1e30"]["scores"] == {}
    assert "failed: learning_rate=1e30" in (tmp_path / "compare.md").read_text()


def test_interrupted_and_continued(dataset, tmp_path):
    settings = ("max_epochs=15", *SETTINGS[1:])
    command = [
        sys.executable,
        "-m",
        "pu_unet_monai",
        *arguments(dataset, tmp_path, "placement=none", settings=settings),
    ]
    # a shell's background job ignores SIGINT, and what it starts would too
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        for line in process.stdout:
            if "epoch 2/15" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in rest
    assert not (tmp_path / "compare.md").exists()
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "epoch 15/15" in run.stdout
    log = (tmp_path / "placement=none" / "seed_0" / "training.log").read_text()
    assert re.search(r"resume: no checkpoint(.|\n)*parsing config_file(.|\n)*resumed after epoch \d+ of 15", log)
    assert [row["epoch"] for row in read(tmp_path / "placement=none" / "seed_0" / "epochs.csv")] == [
        str(epoch) for epoch in range(1, 16)
    ]


@pytest.mark.parametrize(
    ("vary", "more", "message"),
    [
        ("placment=none", (), r"has no key placment \(did you mean placement\?\)"),
        ("network=unet_plus", (), "there is no network 'unet_plus': did you mean unet_plus_plus"),
        ("network=unet:depth=3", (), "unet:depth=3: network unet has no option depth"),
        ("network=vnet,unet:norm=3", (), "vnet: .*in_channels must divide 16.*; unet:norm=3: "),
        ("preset=none,magic", (), "has no configs/presets/magic.json, which this command"),
        ("seed=1,2", (), "seed: compare sets these itself; see --seeds"),
        ("placement=none", ("--set", "placement=all"), "placement: given more than once with --vary and --set"),
        ("network=unet", ("--set", "network_def#placement=all"), "network_def: given more than once"),
        ("+seed=1,2", (), "seed: compare sets these itself"),
        ("network=unet", ("--vary", "network_def=1"), "network_def: given more than once"),
        ("placement=none", ("--set", "resume=true"), "resume: compare sets these itself"),
        ("placement=none", ("--split", "tset"), "tset"),
        ("placement=sideways", (), "placement=sideways: placement must be one of none"),
    ],
)
def test_mistakes_are_one_line(vary, more, message, dataset, tmp_path, capsys):
    assert main(arguments(dataset, tmp_path, vary, *more)) == 2
    said = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert re.search(message, said), said
    assert not list(tmp_path.iterdir())


def test_missing_files(dataset, tmp_path, capsys):
    nowhere = Dataset(tmp_path / "nowhere", tmp_path / "no.json")
    assert main(arguments(nowhere, tmp_path / "out", "placement=none")) == 2
    assert "no.json: no such file" in capsys.readouterr().err
    options = arguments(dataset, tmp_path / "out", "placement=none")
    options[options.index(str(BUNDLE))] = str(tmp_path)
    assert main(options) == 2
    assert "has no configs/train.json, which this command needs" in capsys.readouterr().err


def test_seeds_are_numbers(dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(arguments(dataset, tmp_path, "placement=none", "--seeds", "0;1"))
    assert exit_code.value.code == 2
    assert "expected numbers with commas between" in capsys.readouterr().err
