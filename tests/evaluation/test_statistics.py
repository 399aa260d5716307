from __future__ import annotations

import numpy as np
import pytest

from pu_unet_monai.evaluation.statistics import bootstrap_interval


def test_two_scores_resample_to_three_means():
    """Of 0 and 1 with replacement the mean is 0, 1/2 or 1, with 1/4, 1/2 and 1/4: the interval is all of it."""
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)


def test_many_scores_are_close_to_the_normal_interval():
    scores = np.random.default_rng(3).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(scores)
    error = 1.96 * scores.std() / 20
    assert (low, high) == pytest.approx((scores.mean() - error, scores.mean() + error), abs=0.0015)


def test_seeded():
    scores = [0.1, 0.5, 0.6, 0.9]
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(scores, seed=0) != bootstrap_interval([*scores[:3], 0.91], seed=0)


@pytest.mark.parametrize("scores", [[], [0.7]])
def test_too_few(scores):
    assert bootstrap_interval(scores) is None


def test_equal_scores_have_an_interval_of_no_width():
    assert bootstrap_interval([0.5] * 5) == (0.5, 0.5)
