from __future__ import annotations

import functools
import os
import time

import pytest

from benchmarks.measure import alternate, median_ratio


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


def test_median_of_pairs() -> None:
    assert median_ratio([2, 9, 8], [1, 3, 2]) == 3
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1, 2], [1])
