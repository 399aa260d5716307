from __future__ import annotations

from benchmarks import reporting
from pu_unet_monai.runtime.machine import machine


def test_times_and_their_ratio() -> None:
    slow, fast = {"wall": [2.0, 4.0, 7.0], "cpu": [1.0, 2.0, 6.0]}, {"wall": [1.0, 1.0, 1.0], "cpu": [1.0, 1.0, 1.5]}
    assert reporting.raw_times(slow) == {"wall_seconds": [2.0, 4.0, 7.0], "cpu_seconds": [1.0, 2.0, 6.0]}
    assert reporting.median_ms(reporting.raw_times(slow)) == 2000
    assert reporting.median_ms(reporting.raw_times(slow), "wall") == 4000
    found = reporting.ratio_of_cpu(slow, fast)  # the ratios are 1, 2 and 4
    assert found["median"] == 2
    assert 1 <= found["low"] <= 2 <= found["high"] <= 4


def test_goals_say_whether_they_are_met() -> None:
    goal: reporting.Goal = {"what": "time", "goal": "at most 1", "measured": "2", "met": False, "note": "noisy"}
    table = reporting.goals_text([goal, goal | {"measured": "0.5", "met": True}])
    assert table.splitlines()[2:] == [
        "| time | at most 1 | 2 | no | noisy |",
        "| time | at most 1 | 0.5 | yes | noisy |",
    ]


def test_setting_names_what_matters() -> None:
    text = reporting.setting_text(machine() | {"amx": True, "threads": 3}, 5)
    assert "median of 5 alternating rounds, 3 thread(s)" in text
    assert "AMX True" in text
