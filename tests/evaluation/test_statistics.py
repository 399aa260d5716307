from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pu_unet_monai.evaluation.statistics import (
    bootstrap_interval,
    holm_p_values,
    permutation_p_value,
    proportion_interval,
)


def test_groups_are_resampled_whole():
    """Four cases of two groups: 0.2 or 0.6 twice, so that the mean is 0.2, 0.4 or 0.6, each group of its own size."""
    assert bootstrap_interval([0.2, 0.2, 0.6, 0.6], ["a", "a", "b", "b"]) == pytest.approx((0.2, 0.6))
    unequal = bootstrap_interval([0.2, 0.2, 0.2, 0.6], ["a", "a", "a", "b"])
    assert unequal == pytest.approx((0.2, 0.6))
    assert bootstrap_interval([0.2, 0.6], ["a", "a"]) is None


@pytest.mark.parametrize("groups", [None, range(50)])
def test_each_case_is_its_own_group(groups):
    scores = np.random.default_rng(1).random(50)
    own = stats.bootstrap((scores,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    assert bootstrap_interval(scores, groups) == pytest.approx(tuple(own.confidence_interval))


def test_copies_of_all_cases_make_nothing_surer():
    scores = np.random.default_rng(1).random(50)
    twice, groups = [*scores, *scores], [*range(50)] * 2
    assert bootstrap_interval(twice, groups) == pytest.approx(bootstrap_interval(scores))
    assert permutation_p_value(twice, groups) == pytest.approx(permutation_p_value(scores))
    low, high = bootstrap_interval(twice)
    assert high - low < 0.8 * np.subtract(*bootstrap_interval(scores)[::-1])


def test_differences_of_a_group_change_sign_together():
    """The sums of the groups are 3 and 3: of four patterns one is as high, and one as low."""
    assert permutation_p_value([1.0, 2.0, 3.0], ["a", "a", "b"]) == pytest.approx(2 / 4)
    assert permutation_p_value([1.0, 2.0], ["a", "a"]) is None


@pytest.mark.parametrize(("successes", "number"), [(0, 13), (3, 13), (13, 13), (1, 2)])
def test_proportions(successes, number):
    scores = [1.0] * successes + [0.0] * (number - successes)
    exact = stats.binomtest(successes, number).proportion_ci()
    assert proportion_interval(scores) == pytest.approx((exact.low, exact.high))
    assert proportion_interval(scores * 3, [*range(number)] * 3) == pytest.approx((exact.low, exact.high))


def test_proportions_of_several_seeds_are_between():
    low, high = proportion_interval([0.5, 0.5, 0.0, 1.0])
    assert (low, high) == pytest.approx(proportion_interval([0.0, 0.0, 1.0, 1.0]))
    assert proportion_interval([1.0]) is None


def test_holm():
    """0.01 times 3; 0.03 times 2; 0.04 times 1, but no lower than the one before."""
    assert holm_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_p_values([0.9, 0.8]) == [1.0, 1.0]
    assert holm_p_values([]) == []


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
