from __future__ import annotations

import functools
import os
import resource
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.measure import alternate, alternate_here, ratio
from benchmarks.run_as import run_as_predict, run_as_pytorch

SMALL_PAGES = 64 * 2**20 // resource.getpagesize()


def busy(seconds: float) -> int:
    """Keep the processor busy, then say which process did."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return os.getpid()


def test_sides_are_timed_in_turn_in_processes_of_their_own() -> None:
    times, found = alternate({"busy": functools.partial(busy, 0.2), "idle": functools.partial(time.sleep, 0.2)}, 2)
    assert found["busy"] != os.getpid()
    assert found["idle"] is None
    assert [len(times[name][clock]) for name in ("busy", "idle") for clock in ("wall", "cpu")] == [2] * 4
    assert min(times["busy"]["cpu"]) >= 0.2
    assert max(times["idle"]["cpu"]) < 0.1
    assert min(times["idle"]["wall"]) >= 0.2


def note(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_each_time_is_measured_after_an_unmeasured_one(tmp_path: Path) -> None:
    sides, warm_ups = (
        {name: functools.partial(note, tmp_path / "turns", text + name) for name in "AB"} for text in ("run ", "warm ")
    )
    alternate({name: functools.partial(note, tmp_path / "turns", f"run {name}, ") for name in "AB"}, 2)
    assert (tmp_path / "turns").read_text() == "run A, run A, run B, run B, " * 2
    (tmp_path / "turns").unlink()
    alternate(sides, 1, warm_ups)
    assert (tmp_path / "turns").read_text() == "warm Arun Awarm Brun B"


def test_sides_are_timed_in_turn_in_this_process() -> None:
    turns: list[str] = []
    sides = {"a": functools.partial(turns.append, "a"), "b": functools.partial(turns.append, "b")}
    times = alternate_here(sides, 3)
    assert turns == ["a", "b"] * 5  # two rounds are not measured
    assert [len(times[name][clock]) for name in ("a", "b") for clock in ("wall", "cpu")] == [3] * 4
    times = alternate_here({"busy": functools.partial(busy, 0.05), "idle": functools.partial(time.sleep, 0.05)}, 1)
    assert times["busy"]["cpu"][0] >= 0.05 > times["idle"]["cpu"][0]
    assert times["idle"]["wall"][0] >= 0.05


def test_ratio_of_pairs() -> None:
    assert ratio([2, 9, 8], [1, 3, 2]).median == 3
    assert ratio([2, 4], [1, 2]) == (2, 2, 2)
    assert ratio([3], [2]) == (1.5, 1.5, 1.5)
    median, low, high = ratio([1.0, 1.1, 1.2, 1.3, 5.0], [1.0] * 5)
    assert median == pytest.approx(1.2)
    assert 1.0 <= low < median < high <= 5.0
    assert str(ratio([1], [1])) == "1.000 (1.000 to 1.000)"
    with pytest.raises(ValueError, match="shapes"):
        ratio([1, 2, 3], [1, 2])


def pages_as_predict() -> int:
    run_as_predict()
    return pages()


def pages_as_pytorch() -> int:
    run_as_pytorch()
    return pages()


def pages() -> int:
    """Count the pages that the system hands out for 64 MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are Linux's")
def test_processes_have_made_no_tensor_before() -> None:
    """PyTorch reads with its first tensor whether it shall ask for huge pages."""
    sides = {"predict": pages_as_predict, "PyTorch": pages_as_pytorch}
    _, found = alternate(sides, 1, dict.fromkeys(sides, int))
    assert found["PyTorch"] >= SMALL_PAGES
    if "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        assert found["predict"] < SMALL_PAGES / 2


def test_processes_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("first", "second"):
        monkeypatch.setenv("PU_UNET_OF_THIS_TEST", value)
        _, found = alternate({"side": functools.partial(os.getenv, "PU_UNET_OF_THIS_TEST")}, 1)
        assert found["side"] == value
    monkeypatch.delenv("PU_UNET_OF_THIS_TEST")
    _, found = alternate({"side": functools.partial(os.getenv, "PU_UNET_OF_THIS_TEST")}, 1)
    assert found["side"] is None
