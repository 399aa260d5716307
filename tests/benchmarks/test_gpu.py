from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import baseline, networks, numerics, volume
from benchmarks.gpu.conditions import Conditions, NotHereError, Row, Workload, attempt
from benchmarks.gpu.sides import GraphedInference, TrainingStep, infer, peak_bytes, tf32
from pu_unet_monai.networks import create_network
from pu_unet_monai.networks.blocks import product_unit_function

CPU = torch.device("cpu")
QUICK = Conditions(CPU, quick=True)

# what a machine with a GPU may lack
RUN_WITHOUT = """
import sys
missing = "itk openvino highdicom pydicom ignite onnx onnxruntime sklearn skimage matplotlib pandas mlflow fire".split()
sys.modules.update(dict.fromkeys(missing))
from benchmarks.gpu.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[dict[str, Any], str]:
    """The results of a dry run, and what it printed."""
    output = tmp_path_factory.mktemp("gpu") / "trial.json"
    command = [sys.executable, "-c", RUN_WITHOUT, "--device", "cpu", "--quick", "--output", str(output)]
    done = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(repository)}
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert output.with_suffix(".md").read_text() == done.stdout
    return json.loads(output.read_text()), done.stdout


def test_dry_run_goes_through_all_parts(dry_run: tuple[dict[str, Any], str]) -> None:
    results, text = dry_run
    assert results["dry_run"] is True
    assert text.startswith("Dry run on the CPU")
    assert list(results["parts"]) == list(gpu.PARTS)
    counts = {name: len(part["rows"]) for name, part in results["parts"].items()}
    assert counts == {"numerics": 33, "baseline": 20, "runtimes": 10, "networks": 13, "volume": 4, "throughput": 8}
    for part in results["parts"].values():
        assert "remark" not in part
        for row in part["rows"]:
            assert "error" not in row
            assert row.get("skipped", "") in ("", "a CUDA graph needs CUDA", "PyTorch counts no bytes on a CPU")


def test_numbers_of_the_dry_run(dry_run: tuple[dict[str, Any], str]) -> None:
    results, _ = dry_run
    parts = {name: part["rows"] for name, part in results["parts"].items()}
    checked = [row for row in parts["numerics"] if "skipped" not in row]
    assert len(checked) == 29
    assert all(row["met"] and row["difference"] <= row["at_most"] for row in checked)
    in_low_precision = [row["difference"] for row in checked if row["precision"] in ("bfloat16", "float16")]
    assert max(in_low_precision) > 1e-3  # so it was in force
    for row in parts["networks"]:
        dims = int(row["workload"][0])
        if row["network"] == "dynunet":
            network = create_network("dynunet", dims, {2: 3, 3: 4}[dims], {2: 1, 3: 3}[dims], channels=(8, 16, 16))
            assert row["parameters"] == sum(p.numel() for p in network.parameters())
        assert row["macs"] > row["parameters"] > 0
        assert min(row["step_seconds"]) > 0
        assert min(row["latency_seconds"]) > 0
    assert {row["network"] for row in parts["networks"]} == set(networks.NAMES)
    measured = [row for row in parts["baseline"] if "ratio" in row]
    assert len(measured) == len(results["goals"]) == 10
    assert [goal["met"] for goal in results["goals"]] == [None] * 10  # a CPU tells nothing
    for row in measured:
        assert {len(seconds) for seconds in row["seconds"].values()} == {2}
    assert [row["dice_with_float32"] for row in parts["volume"]][::2] == [1, 1]
    assert {row["weights"] for row in parts["volume"]} == {"bundle pu_unet_brats"}
    assert min(row["items_per_second"] for row in parts["throughput"]) > 0


def test_without_a_gpu_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", bool)
    for device in ("cuda", "cuda:1", "tpu", "mps"):
        assert gpu.main(["--device", device, "--output", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: --device: ")
        assert error.count("\n") == 1
    (tmp_path / "file").touch()
    assert gpu.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "file" / "x.json")]) == 2
    assert "cannot be a folder" in capsys.readouterr().err


def test_a_failure_is_a_line_and_the_rest_goes_on(tmp_path: Path, monkeypatch) -> None:
    def breaks(conditions: Conditions) -> Iterator[Row]:
        yield attempt(conditions, {"what": "latency"}, torch.ones(2).reshape, 3)
        yield attempt(conditions, {"what": "latency"}, dict)
        raise RuntimeError("all is lost")

    def works(conditions: Conditions) -> Iterator[Row]:
        yield {"precision": "float16"}

    monkeypatch.setattr(gpu, "PARTS", {"baseline": (breaks, 1), "throughput": (works, 1)})
    assert gpu.main(["--device", "cpu", "--output", str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    first, second = parts["baseline"]["rows"]
    assert first["error"].startswith("RuntimeError: shape '[3]' is invalid")
    assert "error" not in second
    assert parts["baseline"]["remark"] == "Failed: RuntimeError: all is lost"
    assert parts["throughput"]["rows"] == [{"precision": "float16"}]
    assert "shape '[3]' is invalid" in (tmp_path / "gpu.md").read_text()


def test_time_that_is_over_ends_a_part_and_keeps_its_lines(monkeypatch) -> None:
    def lasts(conditions: Conditions) -> Iterator[Row]:
        yield attempt(conditions, {"what": "in time"}, dict)
        time.sleep(0.05)
        yield attempt(conditions, {"what": "late"}, dict)
        try:
            time.sleep(60)
        except Exception:
            raise AssertionError("an error like any other") from None

    monkeypatch.setattr(gpu, "_GRACE_SECONDS", 0.2)
    part: dict[str, Any] = {"rows": []}
    started = time.perf_counter()
    gpu._measure(part, lasts, Conditions(CPU, quick=True, deadline=started + 0.02), dict)
    assert time.perf_counter() - started < 30
    assert part["remark"] == "Broken off: the time was over."
    assert "skipped" not in part["rows"][0]
    assert part["rows"][1] == {"what": "late", "skipped": "no time was left"}
    part = {"rows": []}
    gpu._measure(part, lasts, Conditions(CPU, quick=True, deadline=started), dict)
    assert part == {"rows": [], "remark": "Not measured: no time was left."}


def test_the_shares_of_the_time_are_under_eight_minutes() -> None:
    seconds = gpu._START_SECONDS + sum(share for _, share in gpu.PARTS.values())
    assert seconds <= 450
    assert seconds + gpu._GRACE_SECONDS < 480


def test_wrong_passes_are_found(monkeypatch) -> None:
    assert numerics._worst_unit(QUICK, 2, "float32", False)["met"]
    right = product_unit_function._logarithm_backward

    def wrong(unit: Any, grad: torch.Tensor, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return 1.01 * right(unit, grad, x, theta)

    monkeypatch.setattr(product_unit_function, "_logarithm_backward", wrong)
    for from_float64 in (False, True):
        found = numerics._worst_unit(QUICK, 2, "float32", from_float64)
        assert not found["met"]
        assert found["difference"] == pytest.approx(0.01, rel=0.05)
    work = Workload(2, 1, 32, (8, 16, 16))
    assert numerics._train(QUICK, work, "float32")["difference"] > 0
    assert numerics._clip(QUICK, "float32", 2**-19)["met"]
    monkeypatch.setattr(product_unit_function, "unclipped_bounds", lambda *_: (0.0, float("inf")))
    with pytest.raises(ValueError, match="clipped"):
        numerics._clip(QUICK, "float32", 2**-19)


def test_relative_difference() -> None:
    found, expected = {"a": torch.tensor([1.0, -4.5])}, {"a": torch.tensor([1.25, -5.0])}
    assert numerics.relative_difference(found, expected) == pytest.approx(0.1)
    for wrong in ({}, {"a": torch.ones(3)}, {"a": torch.tensor([1.0, float("nan")])}):
        with pytest.raises(ValueError, match=r"found \[\]|shape|NaN"):
            numerics.relative_difference(wrong, expected)


def test_goals() -> None:
    row: Row = {"what": "training step", "workload": "2D", "precision": "float32", "mode": "eager"}
    ratios = [{"median": median, "low": 1.0, "high": 1.1} for median in (1.0304, 1.0306)]
    rows = [row | {"ratio": ratio} for ratio in ratios] + [row | {"error": "no memory"}]
    found = baseline.goals(rows, dry_run=False)
    assert [goal["met"] for goal in found] == [True, False]
    assert found[0]["goal"] == "at most 1.030"
    assert found[0]["measured"] == "1.0304 (1.0000 to 1.1000)"


def test_brain_and_dice() -> None:
    image = volume.brain((20, 24, 16), (9, 11, 7))
    assert image.shape == (1, 4, 20, 24, 16)
    places = image[0, 0].nonzero()
    assert (places.max(dim=0).values - places.min(dim=0).values + 1).tolist() == [9, 11, 7]
    assert 0.4 < len(places) / (9 * 11 * 7) < 0.6  # an ellipsoid fills pi / 6 of its box
    one, other = torch.tensor([True, True, False]), torch.tensor([True, False, False])
    assert volume.dice(one, other) == pytest.approx(2 / 3)
    assert volume.dice(~one & one, other & ~other) == 1


def test_training_step_learns_and_precision_is_in_force() -> None:
    work = Workload(2, 2, 32, (8, 16))
    step = TrainingStep(work, work.pu_unet(CPU), CPU, "bfloat16")
    before = step.loss(step.network(step.image), step.label).item()
    for _ in range(5):
        step()
    assert step.loss(step.network(step.image), step.label).item() < before
    assert infer(step.network, step.image, "bfloat16").dtype == torch.bfloat16
    assert not infer(step.network, step.image, "float32").requires_grad
    with pytest.raises(NotHereError):
        GraphedInference(step.network, step.image, "float32")
    assert peak_bytes(QUICK, dict) is None


def test_tf32_is_switched_back() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with tf32(False):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        with tf32(True):
            assert torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
