"""How sure a mean over cases is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["bootstrap_interval"]

_RESAMPLES = 2000


def bootstrap_interval(scores: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a mean.

    It says how the mean would vary with other cases, not with other seeds of the training.

    Args:
        scores: one a case.
        seed: of the resampling. Defaults to 0.

    Returns:
        The lower and the upper bound, or None for fewer than two scores.
    """
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
