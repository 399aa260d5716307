"""How sure a mean over cases is, and a difference of two.

Cases of one group (time points of a patient, images of one scene) are not independent of each other: wherever groups
are known they, and not their cases, are what is drawn, or changes sign.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

__all__ = ["bootstrap_interval", "holm_p_values", "p_value_text", "permutation_p_value", "proportion_interval"]

_RESAMPLES = 2000
_PERMUTATIONS = 20_000
_AT_ONCE = 1000
"""Permutations that are in memory at a time."""


def bootstrap_interval(
    scores: Sequence[float], groups: Sequence[Hashable] | None = None, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a mean, from 2,000 resamples (PU-UNet, section 4.3).

    It says how the mean would vary with other cases, not with other seeds of the training.

    Args:
        scores: one a case.
        groups: the group of each case. Defaults to None, each case its own.
        seed: of the resampling. Defaults to 0.

    Returns:
        The lower and the upper bound, or None for fewer than two groups.

    Raises:
        ValueError: if a score is not finite.
    """
    sums, sizes = _group_sums(scores, groups)
    if len(sums) < 2:
        return None
    interval = stats.bootstrap(
        (sums, sizes),
        lambda sums, sizes, axis: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def proportion_interval(
    scores: Sequence[float], groups: Sequence[Hashable] | None = None
) -> tuple[float, float] | None:
    """Return the exact 95 % interval of a proportion (Clopper and Pearson 1934).

    The bootstrap has none where all scores are the same: 13 of 13 resampled are always 13 of 13, as if it were certain.
    As many cases count as there are groups (Korn and Graubard 1998, with the largest effect that groups can have).

    Args:
        scores: one a case, 0 or 1, or between them for a mean over seeds.
        groups: the group of each case. Defaults to None, each case its own.

    Returns:
        The lower and the upper bound, or None for fewer than two groups.

    Raises:
        ValueError: if a score is not finite.
    """
    number = len(_group_sums(scores, groups)[0])
    if number < 2:
        return None
    share = float(np.mean(scores))
    low = stats.beta.ppf(0.025, share * number, (1 - share) * number + 1) if share > 0 else 0.0
    high = stats.beta.ppf(0.975, share * number + 1, (1 - share) * number) if share < 1 else 1.0
    return float(low), float(high)


def permutation_p_value(
    differences: Sequence[float], groups: Sequence[Hashable] | None = None, seed: int = 0
) -> float | None:
    """Return the two-sided p-value of a paired permutation test (PU-UNet, section 4.3).

    If it did not matter which of two methods a score comes from, each difference could as well have the other sign, and
    those of a group all together. The p-value is twice the share of sign patterns whose mean is at least as high as the
    one that was found, or as low: of all patterns if there are no more than 20,000, else of 20,000 random ones and the
    one that was found.

    Args:
        differences: of the scores of two methods, one a case.
        groups: the group of each case. Defaults to None, each case its own.
        seed: of the random patterns. Defaults to 0.

    Returns:
        The p-value, or None for fewer than two groups.

    Raises:
        ValueError: if a difference is not finite.
    """
    sums, _ = _group_sums(differences, groups)
    if len(sums) < 2:
        return None
    test = stats.permutation_test(
        (sums,),
        np.mean,  # of the sums: the mean over the cases, but for a factor that no sign changes
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        batch=_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm_p_values(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several comparisons for their number (Holm 1979).

    If no method were better anywhere, one corrected value or more would be under 0.05 in at most 5 % of all studies.

    Args:
        p_values: one a comparison.

    Returns:
        The corrected values, in the same order: the lowest times the number of all, the next times one less, and so
        on; none lower than the one before it, and none above 1.
    """
    order = np.argsort(p_values)
    corrected = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    found = np.empty(len(order))
    found[order] = np.minimum(np.maximum.accumulate(corrected), 1)
    return found.tolist()


def p_value_text(p_value: float) -> str:
    """Write a p-value as tables do: ``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _group_sums(values: Sequence[float], groups: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the values of each group, and how many there are, in the order of their first cases."""
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers, got {[value for value in values if not np.isfinite(value)]}")
    if groups is None:
        return np.asarray(values, float), np.ones(len(values))
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    members = np.array([numbers[group] for group in groups], int)
    return np.bincount(members, np.asarray(values, float)), np.bincount(members).astype(float)
