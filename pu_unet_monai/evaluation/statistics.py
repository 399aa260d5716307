"""How sure a mean over cases is, and a difference of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["bootstrap_interval", "p_value_text", "permutation_p_value"]

_RESAMPLES = 2000
_PERMUTATIONS = 20_000
_AT_ONCE = 1000
"""Permutations that are in memory at a time."""


def bootstrap_interval(scores: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a mean, from 2,000 resamples (PU-UNet, section 4.3).

    It says how the mean would vary with other cases, not with other seeds of the training.

    Args:
        scores: one a case.
        seed: of the resampling. Defaults to 0.

    Returns:
        The lower and the upper bound, or None for fewer than two scores.

    Raises:
        ValueError: if a score is not finite.
    """
    _check_finite(scores)
    if len(scores) < 2:
        return None
    interval = stats.bootstrap(
        (np.asarray(scores, float),),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def permutation_p_value(differences: Sequence[float], seed: int = 0) -> float | None:
    """Return the two-sided p-value of a paired permutation test (PU-UNet, section 4.3).

    If it did not matter which of two methods a score comes from, each difference could as well have the other sign. The
    p-value is twice the share of sign patterns whose mean is at least as high as the one that was found, or as low: of
    all patterns if there are no more than 20,000, else of 20,000 random ones and the one that was found.

    Args:
        differences: of the scores of two methods, one a case.
        seed: of the random patterns. Defaults to 0.

    Returns:
        The p-value, or None for fewer than two differences.

    Raises:
        ValueError: if a difference is not finite.
    """
    _check_finite(differences)
    if len(differences) < 2:
        return None
    test = stats.permutation_test(
        (np.asarray(differences, float),),
        np.mean,
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        batch=_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def p_value_text(p_value: float) -> str:
    """Write a p-value as tables do: ``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _check_finite(values: Sequence[float]) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers, got {[value for value in values if not np.isfinite(value)]}")
