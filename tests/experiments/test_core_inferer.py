"""The loss counts the core alone."""

from __future__ import annotations

import pytest
import torch

from experiments.brain_report.core_inferer import CoreInferer


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]), (1, [[5, 6]]), ([1, 0], [[4, 5, 6, 7]])],
)
def test_core_of_the_output(margin, expected):
    window = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert CoreInferer(margin)(window, lambda image: -image)[0, 0].tolist() == (-torch.tensor(expected)).tolist()
