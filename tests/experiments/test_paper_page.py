"""The page of results from scores that are easily added up."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from experiments.paper import collect, page
from experiments.paper.protocol import DATASETS, VARIANTS
from pu_unet_monai.errors import UserError

BASELINE, PU = page.FIRST, page.PU
MACHINE = {"gpu": None, "processor": "a processor", "amx": True, "torch": "2", "monai": "1"}


def write_csv(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def scores(variant: str, seed: int, dice: float, number: int = 20) -> list[dict]:
    return [
        {"variant": variant, "case": f"c{i}", "split": "test", "seed": seed}
        | {"dice": dice + i / 100, "iou": dice / 2, "false_positive_rate": ""}
        for i in range(number)
    ]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = scores(BASELINE, 0, 0.5) + scores(BASELINE, 1, 0.5) + scores(PU, 0, 0.6) + scores(PU, 1, 0.7)
    write_csv(tmp_path / "kvasir" / "scores.csv", rows)
    training = {"variant": PU, "seed": 0, "done": 1, "epochs": 2, "best_epoch": 2, "seconds": 120.0}
    training |= {"gradient_norm_max": 7.5, "non_finite_gradients": 3, "clipped_share": 0.25, "failed": "", **MACHINE}
    write_csv(tmp_path / "kvasir" / "trainings.csv", [training])
    protocol = {"image_size": 128, "channels": [16, 32], "max_epochs": 40}
    (tmp_path / "kvasir" / "protocol.json").write_text(json.dumps(protocol))
    return tmp_path


def test_answer_says_what_the_scores_do(results):
    text = page.page(results)
    assert "Dice +0.150 (95 % interval +0.150 to +0.150, p < 0.001; 20 images; " in text
    assert "2 of 3 seeds, alone +0.100, +0.200): better in each of 2 trainings." in text
    assert "In short: Kvasir-SEG: better in each of 2 trainings." in text
    assert "nothing was trained without clipping yet" in text
    assert "Not done yet: no such training is finished." in text.partition("## Brain MRI")[2]
    assert "**1 of 54 trainings of the grid are done so far" in text
    assert "BUSI" not in text.partition("## Tables")[0].partition("## Does")[2]


def test_images_of_one_scene_count_as_one(results):
    """Twenty images of one scene and one of another: two groups, of which half of the sign patterns are as extreme."""
    rows = [row | {"group": "one"} for row in scores(BASELINE, 0, 0.5, 21) + scores(PU, 0, 0.6, 21)]
    for row in rows:
        row["group"] = "another" if row["case"] == "c20" else "one"
    write_csv(results / "kvasir" / "scores.csv", rows)
    text = page.page(results)
    assert "p = 0.5; 21 images of 2 scenes; 1 of 3 seeds" in text
    assert "no difference that these images and one training of each can show" in text
    assert "Kvasir-SEG has 21 images of 2" in text


def test_several_datasets_are_corrected_for(results):
    """15 of 20 signs are p = 0.041 (twice the binomial's tail), and twice that for two datasets."""
    rows = scores(BASELINE, 0, 0.5) + [
        row | {"dice": row["dice"] + (0.03 if i < 15 else -0.03)} for i, row in enumerate(scores(PU, 0, 0.5))
    ]
    write_csv(results / "kvasir" / "scores.csv", rows)
    assert "In short: Kvasir-SEG: better, as far as one training of each can say." in page.page(results)
    shutil.copytree(results / "kvasir", results / "busi")
    text = page.page(results)
    assert {round(float(p), 2) for p in re.findall(r"p = ([\d.]+) after", text)} == {0.08}
    assert text.count("after Holm's correction for 2 datasets; 20 images; 1 of 3 seeds") == 2
    assert "In short: Kvasir-SEG, BUSI (incl. normal): no difference that these images and one" in text


def test_false_alarms_are_in_the_answer(results):
    shutil.copytree(results / "kvasir", results / "busi")
    rows = []
    for variant, alarms in ((BASELINE, 4), (PU, 1)):
        normal = [{"variant": variant, "case": f"n{i}", "split": "test", "seed": 0} for i in range(4)]
        rows += [
            row | {"dice": "", "iou": "", "false_positive_rate": float(i < alarms)} for i, row in enumerate(normal)
        ]
    write_csv(results / "busi" / "scores.csv", scores(BASELINE, 0, 0.5) + scores(PU, 0, 0.5) + rows)
    text = page.page(results)
    said = "a lesion is seen in 25% (PU-UNet) and 100% (Residual U-Net) of 4, p = 0.25; the paper: 0.0% and 7.7%."
    assert f"- **BUSI (incl. normal), images without a lesion**: {said}" in text
    row = next(line for line in text.splitlines() if line.startswith("| BUSI (incl. normal) | Residual U-Net |"))
    assert "| 1.000 [0.398, 1.000] | 0.077 |" in row  # 0.025 ** (1 / 4)


def test_no_difference_is_called_that(results):
    rows = scores(BASELINE, 0, 0.5) + [
        row | {"dice": row["dice"] + (-1) ** i / 10} for i, row in enumerate(scores(PU, 0, 0.5))
    ]
    write_csv(results / "kvasir" / "scores.csv", rows)
    assert "no difference that these images and one training of each can show" in page.page(results)


def test_worse_is_called_worse(results):
    write_csv(results / "kvasir" / "scores.csv", scores(BASELINE, 0, 0.5) + scores(PU, 0, 0.4))
    assert "1 of 3 seeds, alone -0.100): worse, as far as one training of each can say." in page.page(results)


def test_seeds_that_disagree_are_named(results):
    rows = scores(BASELINE, 0, 0.5) + scores(PU, 0, 0.4) + scores(BASELINE, 1, 0.5) + scores(PU, 1, 0.8)
    write_csv(results / "kvasir" / "scores.csv", rows)
    assert "2 of 3 seeds, alone -0.100, +0.300): better on average, but not under every seed." in page.page(results)


def test_seeds_that_differ_both_ways_are_no_missing_difference(results):
    rows = scores(BASELINE, 0, 0.5) + scores(PU, 0, 0.4) + scores(BASELINE, 1, 0.5) + scores(PU, 1, 0.6)
    for i, row in enumerate(rows):
        row["dice"] += (-1) ** (i // 3) / 50 if row["variant"] == PU else 0
    write_csv(results / "kvasir" / "scores.csv", rows)
    assert "): no difference on average, but single trainings differ, one way and the other." in page.page(results)


def test_only_seeds_that_both_have_are_compared(results):
    rows = scores(BASELINE, 1, 0.5) + scores(PU, 0, 0.1) + scores(PU, 1, 0.6)
    write_csv(results / "kvasir" / "scores.csv", rows)
    text = page.page(results)
    assert "1 of 3 seeds, alone +0.100): better, as far as one training of each can say." in text
    main = [line for line in text.splitlines() if line.startswith("| Kvasir-SEG |")]
    assert [line.split(" | ")[2][:6] for line in main[:3]] == ["0.695 ", "0.595 ", "+0.100"]
    assert all(line.endswith("| 1 |") for line in main[:3])
    row = next(line for line in text.splitlines() if line.startswith("| Kvasir-SEG | Low-resolution stages (PU-UNet)"))
    assert "| 0.445 | +0.100 [" in row
    assert row.endswith("| 2 (1 shared) |")


def test_failed_trainings_are_in_the_answer(results):
    trainings = page.Found(results / "kvasir").trainings
    failed = {**trainings[0], "seed": 2, "done": 0, "failed": "the loss became nan"}
    write_csv(results / "kvasir" / "trainings.csv", [*trainings, failed])
    text = page.page(results)
    said = "Failed, and so in no mean: PU-UNet under seed 2 (the loss became nan). The paper:"
    assert f"better in each of 2 trainings. {said}" in text


@pytest.mark.parametrize("damage", ["missing", "others", "nan", "empty"])
def test_scores_of_other_images_are_not_compared(results, capsys, damage):
    rows = page.Found(results / "kvasir").rows
    if damage == "missing":
        rows = rows[1:]
    for row in rows:
        if (row["variant"], row["seed"]) == (PU, "1"):
            row["case"] = f"{row['case']}0" if damage == "others" else row["case"]
            row["dice"] = {"nan": "nan", "empty": ""}.get(damage, row["dice"])
    write_csv(results / "kvasir" / "scores.csv", rows)
    assert page.main(["--results", str(results), "--output", str(results / "page.md")]) == 2
    assert "scores.csv: pu_unet:placement=" in capsys.readouterr().err
    assert not (results / "page.md").exists()


def test_datasets_of_other_settings_are_not_put_together(results, capsys):
    shutil.copytree(results / "kvasir", results / "busi")
    (results / "busi" / "protocol.json").write_text(json.dumps({"image_size": 64, "channels": [16], "max_epochs": 2}))
    assert page.main(["--results", str(results), "--output", str(results / "page.md")]) == 2
    assert "busi: of other settings than kvasir" in capsys.readouterr().err


def test_published_numbers_stand_beside(results):
    lines = page.page(results).splitlines()
    row = next(line for line in lines if line.startswith("| Kvasir-SEG | PU-UNet |"))
    assert "| 0.745 [" in row  # the mean of 0.6 and 0.7, and of 0 to 0.19
    assert "| 0.959 [0.956, 0.963] |" in row
    row, training = [line for line in lines if line.startswith("| Kvasir-SEG | Low-resolution stages (PU-UNet) |")]
    assert row.split(" | ")[2:] == [
        *("0.745", "+0.150 [+0.150, +0.150], p < 0.001", "0.959"),
        *("0.325", "+0.075 [+0.075, +0.075], p < 0.001", "0.923", "2 |"),
    ]
    assert training == "| Kvasir-SEG | Low-resolution stages (PU-UNet) | 1 of 3 | 2 | 7.5 | 3 | 25.00% |  |"


def test_nothing_trained_yet(tmp_path):
    assert "No training of the grid is done yet." in page.page(tmp_path)


def test_the_committed_page_is_that_of_the_committed_scores():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(collect.RESULTS)


def test_the_readme_gives_the_answer_of_the_page():
    (line,) = [line for line in page.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("In short: ")]
    assert line in " ".join((page.REPOSITORY / "README.md").read_text(encoding="utf-8").split())


def test_collect(tmp_path):
    cell = tmp_path / "grid" / "busi" / "seed_2" / PU.replace(":", ",") / "seed_2"
    epochs = [
        {
            "epoch": e,
            "seconds": 10.5,
            "dice": d,
            "gradient_norm_max": n,
            "non_finite_gradients": 1,
            "clipped_share": 0.1 * e,
        }
        for e, d, n in ((1, "0.2", 3.0), (2, "0.4", 9.0), (3, "", 5.0))
    ]
    write_csv(cell / "epochs.csv", epochs)
    (cell / "done.json").write_text("{}")
    failed = {f"{PU}, seed 3": "the loss is nan"}
    compare = {"machine": MACHINE, "failed": failed, "image_size": 128, "package": "1"}
    (cell.parents[1] / "compare.json").write_text(json.dumps(compare))
    own = [{key: row[key] for key in ("case", "dice")} for row in scores(PU, 2, 0.5)]
    write_csv(cell / "scores.csv", own)
    unfinished = cell.parent / "seed_3"
    write_csv(unfinished / "epochs.csv", epochs[:1])
    assert collect.main(["--grid", str(tmp_path / "grid"), "--output", str(tmp_path / "out")]) == 0
    kept = list(csv.DictReader((tmp_path / "out" / "busi" / "scores.csv").open()))
    assert kept == [{"variant": PU, "seed": "2", **{k: str(v) for k, v in row.items()}} for row in own]
    row, other = csv.DictReader((tmp_path / "out" / "busi" / "trainings.csv").open())
    assert (other["seed"], other["done"], other["epochs"]) == ("3", "0", "1")
    assert (row["failed"], other["failed"]) == ("", "the loss is nan")
    assert (row["processor"], row["package"]) == ("a processor", "1")
    assert (row["variant"], row["seed"], row["done"], row["best_epoch"]) == (PU, "2", "1", "2")
    assert (float(row["seconds"]), float(row["gradient_norm_max"]), row["non_finite_gradients"]) == (31.5, 9.0, "3")
    assert float(row["clipped_share"]) == pytest.approx(0.3)
    assert next(iter(VARIANTS)) == BASELINE
    assert set(DATASETS) == {"kvasir", "busi", "isic2018"}


def comparison(folder: Path, variant: str, seed: int, dice: float, done: bool = True, max_epochs: int = 40) -> Path:
    cell = folder / variant.replace(":", ",") / f"seed_{seed}"
    write_csv(cell / "epochs.csv", [{"epoch": 1, "seconds": 1.0, "dice": dice}])
    write_csv(cell / "scores.csv", [{"case": "c0", "dice": dice}])
    if done:
        (cell / "done.json").write_text("{}")
    compare = {"machine": MACHINE, "failed": {}, "max_epochs": max_epochs, "package": "1"}
    (folder / "compare.json").write_text(json.dumps(compare))
    return folder


def test_what_was_kept_before_stays(tmp_path):
    output = tmp_path / "kvasir"
    collect.collect(comparison(tmp_path / "a", PU, 0, 0.5), output)
    collect.collect(comparison(tmp_path / "b", BASELINE, 1, 0.4), output)
    collect.collect(comparison(tmp_path / "c", PU, 0, 0.1, done=False), output)
    found = page.Found(output)
    assert [(row["variant"], row["seed"], row["dice"]) for row in found.rows] == [
        (BASELINE, "1", "0.4"),
        (PU, "0", "0.5"),
    ]
    assert [row["done"] for row in found.trainings] == ["1", "1"]
    assert collect.kept_trainings(output, {"max_epochs": 40}) == {(BASELINE, 1), (PU, 0)}
    assert collect.kept_trainings(output, {"max_epochs": 1}) == set()
    assert collect.kept_trainings(output, {"max_epochs": 40, "learning_rate": 0.1}) == set()
    assert collect.kept_trainings(tmp_path / "nothing", {}) == set()


def test_other_protocols_are_not_mixed(tmp_path):
    output = tmp_path / "kvasir"
    collect.collect(comparison(tmp_path / "a", PU, 0, 0.5), output)
    with pytest.raises(UserError, match="max_epochs 40, not 1; choose another folder"):
        collect.collect(comparison(tmp_path / "b", BASELINE, 0, 0.4, max_epochs=1), output)
    for key, value in {"learning_rate": 0.1, "datalist (SHA-256)": "f00d"}.items():
        folder = comparison(tmp_path / "c", BASELINE, 0, 0.4)
        compare = json.loads((folder / "compare.json").read_text())
        (folder / "compare.json").write_text(json.dumps({**compare, key: value}))
        with pytest.raises(UserError, match=re.escape(f"{key} None, not {value!r}")):
            collect.collect(folder, output)
    assert len(page.Found(output).rows) == 1


def test_nothing_to_collect(tmp_path, capsys):
    assert collect.main(["--grid", str(tmp_path)]) == 2
    assert "holds no comparison" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["no folder", "no protocol", "damaged protocol"])
def test_mistakes_leave_the_page_as_it_is(results, tmp_path, capsys, damage):
    folder = tmp_path / "typo" if damage == "no folder" else results
    if damage == "no protocol":
        (results / "kvasir" / "protocol.json").unlink()
    if damage == "damaged protocol":
        (results / "kvasir" / "protocol.json").write_text("[")
    output = tmp_path / "results.md"
    output.write_text("as it was")
    assert page.main(["--results", str(folder), "--output", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert output.read_text() == "as it was"
