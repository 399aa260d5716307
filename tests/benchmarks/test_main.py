from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.__main__ import Step
from benchmarks.reporting import goals_text


def test_runs_benchmarks_and_collects_their_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        Step("pu_against_baseline", "pu_against_baseline", ["--quick"]),
        Step("runtimes_avx2", "runtimes", ["--quick"], benchmarks.WITHOUT_AVX512),
        Step("nnunet", "volume_pipeline"),  # without the images that it needs
        Step("scaling", "scaling"),
    ]
    monkeypatch.setattr(benchmarks, "STEPS", steps)
    chosen = [step.name for step in steps[:3]]
    assert benchmarks.main(["--only", *chosen, "--output", str(tmp_path)]) == 1
    assert "failed: nnunet" in capsys.readouterr().out

    of_baseline = json.loads((tmp_path / "pu_against_baseline.json").read_text())
    (setting,) = of_baseline["settings"].values()
    for precision in setting.values():
        assert len(precision["latency"]["PU-UNet"]["cpu_seconds"]) == 3
        assert len(precision["step"]["baseline"]["wall_seconds"]) == 2
    assert setting["float32"]["step_bytes"]["none"] >= setting["float32"]["step_bytes"]["low_resolution"]
    of_runtimes = json.loads((tmp_path / "runtimes_avx2.json").read_text())
    assert of_runtimes["isa"] == "AVX2"
    (sides,) = of_runtimes["sizes"].values()
    assert list(sides) == ["PyTorch as it comes, float32", "eager, float32", "openvino, float32"]
    assert all(side["difference"] < 1e-3 for side in sides.values())

    goals = json.loads((tmp_path / "goals.json").read_text())["goals"]
    assert [goal for goal in goals if goal["measured"] != "not measured"] == of_baseline["goals"] + of_runtimes["goals"]
    missing = [goal["what"] for goal in goals if goal["measured"] == "not measured"]
    measured = {"pu_against_baseline", "runtimes_avx2"}
    assert missing == [about for name, about in benchmarks.SCORED.items() if name not in measured]
    assert goals_text(goals) in (tmp_path / "goals.md").read_text()


def test_names_that_do_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmarks.main(["--only", "runtime", "--output", str(tmp_path)])
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())  # before anything is made
    assert "there is no runtime; there are pu_against_baseline, " in capsys.readouterr().err


def test_nnunet_that_is_not_installed_is_asked_for(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(benchmarks, "STEPS", [step for step in benchmarks.STEPS if step.name != "nnunet"])
    with pytest.raises(SystemExit) as stopped:
        benchmarks.main(["--only", "nnunet", "--output", str(tmp_path)])
    assert stopped.value.code == 2
    assert "pip install -c constraints.txt -e '.[nnunet]'" in capsys.readouterr().err


def test_table_in_the_readme(repository: Path) -> None:
    """README shows the committed results, no others."""
    goals = json.loads((repository / "benchmarks" / "results" / "goals.json").read_text())["goals"]
    assert goals_text(goals) in (repository / "README.md").read_text()
