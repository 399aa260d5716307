from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pu_unet_monai.evaluation.statistics import bootstrap_interval, permutation_p_value


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


def test_all_patterns_of_few_differences():
    """Of the 8 sign patterns of 1, 2, 3 one has a mean as high as all plus, and one as low: p = 2/8."""
    assert permutation_p_value([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert permutation_p_value([-1.0, -2.0, -3.0]) == pytest.approx(2 / 8)
    # as high as (1 + 2 - 3) / 3 = 0 are 5 patterns: +++, ++-, +-+, -++ and --+
    assert permutation_p_value([1.0, 2.0, -3.0]) == 1.0


def test_many_differences_are_close_to_the_t_test():
    differences = np.random.default_rng(5).normal(0.02, 0.1, 200)
    p = permutation_p_value(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.002)
    assert p == permutation_p_value(differences)


def test_clear_differences_have_the_smallest_p_that_20000_patterns_can_show():
    assert permutation_p_value([0.1] * 100) == pytest.approx(2 / 20_001)


def test_no_difference():
    assert permutation_p_value([0.0] * 30) == 1.0


@pytest.mark.parametrize("differences", [[], [0.1]])
def test_too_few_differences(differences):
    assert permutation_p_value(differences) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("statistic", [bootstrap_interval, permutation_p_value])
def test_what_is_no_number_is_refused(statistic, bad):
    with pytest.raises(ValueError, match=r"expected finite numbers, got \[(nan|inf)\]"):
        statistic([bad, 1.0])
