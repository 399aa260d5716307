from __future__ import annotations

import pytest

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation import scores

TABLE = """case,split,seed,dice,iou,false_positive_rate,dice_grid
a,test,0,0.9,0.8,,0.7
b,test,0,0.3,0.2,,0.2
c,test,0,,,1.0,
d,test,0,,,0.0,
e,test,0,0.6,0.5,,0.6
"""


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "scores.csv").write_text(TABLE)
    return scores.read_rows(tmp_path / "scores.csv")


def test_summary(rows):
    summary = scores.summarise(rows)
    assert list(summary) == ["dice", "iou", "false_positive_rate", "dice_grid"]
    dice = summary["dice"]
    assert (dice["cases"], dice["mean"], dice["median"]) == (3, pytest.approx(0.6), 0.6)
    assert (dice["lowest"], dice["highest"]) == (("b", 0.3), ("a", 0.9))
    assert dice["interval"][0] < 0.6 < dice["interval"][1]
    assert (summary["false_positive_rate"]["cases"], summary["false_positive_rate"]["mean"]) == (2, 0.5)


def test_cases_of_one_group_count_as_one(tmp_path, rows):
    path = tmp_path / "scores.csv"
    scores.add_groups(path, {"a": "one patient", "b": "one patient", "c": "another", "d": "another"})
    grouped = scores.read_rows(path)
    assert list(grouped[0])[:5] == ["case", "split", "seed", "group", "dice"]
    assert [row["group"] for row in grouped] == ["one patient"] * 2 + ["another"] * 2 + [""]
    assert scores.metrics_of(grouped) == scores.metrics_of(rows)
    dice = scores.summarise(grouped)["dice"]
    assert (dice["groups"], dice["mean"]) == (2, pytest.approx(0.6))
    assert scores.cases_text(dice) == "3 (of 2 groups)"
    assert scores.cases_text(scores.summarise(rows)["dice"]) == "3"
    assert scores.summarise(grouped)["false_positive_rate"]["interval"] is None


def test_no_groups_leave_the_file_as_it_is(tmp_path, rows):
    scores.add_groups(tmp_path / "scores.csv", {})
    assert (tmp_path / "scores.csv").read_text() == TABLE


@pytest.mark.parametrize("metric", ["false_positive_rate", "false_positive_rate_ET"])
def test_what_is_true_of_all_cases_is_not_certain(metric):
    rows = [{"case": f"{number}", metric: "1.0", "dice": "1.0"} for number in range(13)]
    summary = scores.summarise(rows)
    assert summary[metric]["interval"] == pytest.approx((0.025 ** (1 / 13), 1.0))
    assert summary["dice"]["interval"] == (1.0, 1.0)


def test_key_score_is_the_dice_at_native_size(rows):
    assert scores.key_scores(rows) == {"a": 0.9, "b": 0.3, "e": 0.6}


def test_key_score_of_regions_is_the_mean_of_those_that_exist():
    rows = [
        {"case": "a", "dice_TC": "0.5", "dice_WT": "0.9", "dice_ET": "", "dice_TC_grid": "0.1"},
        {"case": "b", "dice_TC": "", "dice_WT": "", "dice_ET": "", "dice_TC_grid": ""},
    ]
    assert scores.key_scores(rows) == {"a": pytest.approx(0.7)}


def test_metric_without_any_score_is_left_out():
    rows = [{"case": "a", "split": "test", "dice": "0.5", "false_positive_rate": ""}]
    assert list(scores.summarise(rows)) == ["dice"]
    assert scores.summarise(rows)["dice"]["interval"] is None


@pytest.mark.parametrize("content", [None, "", "case,dice\n", "name,dice\na,0.5\n"])
def test_no_scores(tmp_path, content):
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"scores\.csv"):
        scores.read_rows(path)
