from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.comparison.table import write_tables
from pu_unet_monai.comparison.variants import Variant

COST = {"parameters": 1234567, "steps": 10, "input_size": [8, 3, 32, 32], "macs": 2_500_000_000}
COSTS = {
    "a": COST | {"step_bytes": 123_400_000, "step_seconds": 0.0123, "step_seconds_range": [0.0123, 0.01476]},
    "b": COST | {"step_bytes": None, "step_seconds": 1.5, "step_seconds_range": [1.2, 1.5]},
}


@pytest.fixture
def protocol(tmp_path: Path) -> Protocol:
    bundle, datalist = tmp_path / "bundle", tmp_path / "datalist.json"
    (bundle / "configs").mkdir(parents=True)
    for path in (bundle / "configs" / "train.json", bundle / "configs" / "evaluate.json", datalist):
        path.write_text("{}")
    protocol = Protocol(bundle, tmp_path, datalist, "test", {}, tmp_path / "out")
    protocol.__dict__.update(example_cases=["p"], groups={})  # which would need a dataset
    return protocol


def cell(protocol: Protocol, name: str, seed: int, dice: dict[str, str], seconds: float = 60.0) -> Cell:
    made = Cell(Variant(name, {}), seed, protocol)
    made.folder.mkdir(parents=True)
    rows = [{"case": case, "split": "test", "seed": seed, "dice": score} for case, score in dice.items()]
    for file, content in (("scores.csv", rows), ("epochs.csv", [{"epoch": 1, "seconds": seconds}] * 2)):
        with (made.folder / file).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, content[0])
            writer.writeheader()
            writer.writerows(content)
    return made


def found(protocol: Protocol) -> dict:
    return json.loads((protocol.output / "compare.json").read_text())["variants"]


def test_a_case_has_the_mean_of_its_seeds_and_differences_are_case_by_case(protocol):
    cells = [
        cell(protocol, "a", 0, {"p": "0.5", "q": "0.7", "r": ""}),
        cell(protocol, "a", 1, {"p": "0.7", "q": "", "r": ""}),
        cell(protocol, "b", 0, {"p": "0.9", "q": "0.6", "r": "1.0"}),
    ]
    write_tables(cells, COSTS, {}, protocol)
    first, second = (found(protocol)[name]["scores"]["dice"] for name in ("a", "b"))
    assert (first["mean"], first["cases"]) == (pytest.approx((0.6 + 0.7) / 2), 2)
    assert (second["mean"], second["cases"]) == (pytest.approx(2.5 / 3), 3)
    assert first["difference_from_first"] == 0
    # r has no pair, and p has one under seed 0 alone
    assert second["difference_from_first"] == pytest.approx(((0.9 - 0.5) + (0.6 - 0.7)) / 2)
    assert second["interval_of_difference"] == pytest.approx([-0.1, 0.4])
    # of the four sign patterns of 0.4 and -0.1 two are at least as high: these, and both plus
    assert second["p_value"] == 1.0
    assert first["by_seed"] == {"0": pytest.approx(0.6), "1": pytest.approx(0.7)}
    assert "| a | 2 x 2 |" in (protocol.output / "compare.md").read_text()
    assert "| b | 3 x 1 |" in (protocol.output / "compare.md").read_text()
    with (protocol.output / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [("a", "0")] * 3 + [("a", "1")] * 3 + [("b", "0")] * 3


def test_cases_of_one_group_are_resampled_together(protocol):
    protocol.__dict__["groups"] = {"p": "one patient", "q": "one patient", "r": "another"}
    cells = [
        cell(protocol, "a", 0, {"p": "0.5", "q": "0.7", "r": "0.5"}),
        cell(protocol, "b", 0, {"p": "0.6", "q": "0.9", "r": "0.7"}),
    ]
    write_tables(cells, COSTS, {}, protocol)
    second = found(protocol)["b"]["scores"]["dice"]
    assert (second["cases"], second["groups"]) == (3, 2)
    assert second["interval"] == pytest.approx([0.7, 0.75])  # twice the other patient, or twice the first
    assert second["p_value"] == pytest.approx(2 / 4)  # of 0.1 + 0.2 and 0.2
    with (protocol.output / "scores.csv").open(newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["one patient", "one patient", "another"] * 2


def test_the_table_shows_the_challenges_score(protocol):
    made = cell(protocol, "a", 0, {"p": "0.5"})
    rows = "case,split,seed,dice,thresholded_jaccard,hausdorff95_mm\np,test,0,0.5,0.0,3.0\n"
    (made.folder / "scores.csv").write_text(rows)
    write_tables([made], {"a": COSTS["a"]}, {}, protocol)
    columns = (protocol.output / "compare.md").read_text().splitlines()[0]
    assert "| dice | thresholded_jaccard | dice, less" in columns


def test_failures_alone_leave_a_table_too(protocol):
    write_tables([], COSTS, {"a, seed 0": "the loss is nan", "b, seed 0": "so is this"}, protocol)
    results = json.loads((protocol.output / "compare.json").read_text())
    assert results["failed"] == {"a, seed 0": "the loss is nan", "b, seed 0": "so is this"}
    assert "failed: a, seed 0: the loss is nan" in (protocol.output / "compare.md").read_text()


def test_table_as_text(protocol):
    cells = [
        cell(protocol, "a", 0, {"p": "0.5", "q": "0.7"}, seconds=30.0),
        cell(protocol, "b", 0, {"p": "0.5", "q": "0.9"}, seconds=90.0),
    ]
    write_tables(cells, COSTS, {"b, seed 1": "log: training ended"}, protocol)
    lines = (protocol.output / "compare.md").read_text().splitlines()
    columns = "cases x seeds | parameters | GMACs | step, ms | step, MB | training, min | dice | dice, less that of a"
    assert lines[0] == f"|  | {columns} |"
    assert lines[2] == "| a | 2 x 1 | 1,234,567 | 2.5 | 12.3 | 123 | 1.0 | 0.600 (0.500 to 0.700) |  |"
    assert lines[3] == (
        "| b | 2 x 1 | 1,234,567 | 2.5 | 1,500 | - | 3.0 | 0.700 (0.500 to 0.900) | +0.100 (+0.000 to +0.200), p = 1 |"
    )
    text = "\n".join(lines)
    assert "test split; means" in text
    assert "failed: b, seed 1: log: training ended" in text
    assert "training step of 8x3x32x32; its time is the median of steps" in text
    assert "single ones of which took 80% to 120% of that" in text
    assert "Not a medical device" in text


def test_variant_without_any_training_is_a_row_of_costs(protocol):
    write_tables([cell(protocol, "a", 0, {"p": "0.5"})], COSTS, {}, protocol)
    assert found(protocol)["b"]["scores"] == {}
    assert found(protocol)["b"]["training_seconds"] == {}
    assert "| b | 0 x 0 | 1,234,567 | 2.5 | 1,500 | - | - | - | - |" in (protocol.output / "compare.md").read_text()
