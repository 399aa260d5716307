"""Groups of images that show the same scene, so that no split has one of them in training and another in test.

Two steps. A coarse one is cheap and keeps the pairs whose 32x32 greyscale thumbnails correlate. A fine one decides:
64x64 thumbnails, reduced to fine detail of even contrast and faded out towards the border, are correlated at every
shift up to an eighth of the side. So brightness, contrast, colour, callipers and text, and a slightly different crop
do not hide a duplicate, while two images that only share their layout (dark below, a spot in the middle) stay apart.
Each dataset has its own two thresholds; its module says how they were chosen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter
from scipy.signal.windows import tukey
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from data_prep.cases import Case

__all__ = ["Thresholds", "with_groups"]

Array = NDArray[np.float32]

SIDE = 64
SHIFT = SIDE // 8
WINDOW = np.outer(tukey(SIDE, 0.5), tukey(SIDE, 0.5)).astype(np.float32)
BATCH = 1000


@dataclass(frozen=True)
class Thresholds:
    """Smallest correlations of two images that count as the same scene.

    Args:
        coarse: of the greyscale thumbnails.
        fine: of the detail, at the best shift.
    """

    coarse: float
    fine: float


def with_groups(cases: Sequence[Case], thresholds: Thresholds) -> list[Case]:
    """Return the cases with their groups; a group is named after its first image.

    Args:
        cases: cases whose images can be read.
        thresholds: what counts as the same scene.
    """
    numbers = _group_numbers([case.image for case in cases], thresholds)
    names: dict[int, str] = {}
    for case, number in zip(cases, numbers, strict=True):
        names.setdefault(number, case.image.stem)
    return [replace(case, group=names[number]) for case, number in zip(cases, numbers, strict=True)]


def _group_numbers(images: Sequence[Path], thresholds: Thresholds) -> list[int]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        thumbnails = np.stack(list(pool.map(_thumbnail, images)))
        details = np.stack(list(pool.map(_detail_spectrum, thumbnails)))
    coarse = _coarse(thumbnails)
    first, second = np.nonzero(np.triu(coarse @ coarse.T >= thresholds.coarse, k=1))
    batches = [slice(start, start + BATCH) for start in range(0, len(first), BATCH)]

    def are_same(pairs: slice) -> NDArray[np.bool_]:
        return _best_correlation(details[first[pairs]], details[second[pairs]]) >= thresholds.fine

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(tqdm(pool.map(are_same, batches), desc="comparing", unit="k pairs", total=len(batches)))
    same = np.concatenate([np.empty(0, dtype=bool), *found])
    links = coo_array((np.ones(same.sum()), (first[same], second[same])), shape=(len(images), len(images)))
    return [int(number) for number in connected_components(links, directed=False)[1]]


def _thumbnail(path: Path) -> Array:
    with Image.open(path) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def _coarse(thumbnails: Array) -> Array:
    half = SIDE // 2
    flat = thumbnails.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(len(thumbnails), -1)
    return np.stack([_normalised(thumbnail) for thumbnail in flat])


def _detail_spectrum(thumbnail: Array) -> NDArray[np.complex64]:
    detail = gaussian_filter(thumbnail, 0.7) - gaussian_filter(thumbnail, 2.0)
    even = detail / np.sqrt(gaussian_filter(detail**2, 4.0) + 4)
    return rfft2(_normalised((even - even.mean()) * WINDOW))


def _normalised(values: Array) -> Array:
    centred = values - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _best_correlation(first: NDArray[np.complex64], second: NDArray[np.complex64]) -> Array:
    # not with `workers`: SciPy's own pool of threads can hang when the process forks later (seen with SciPy 1.17)
    correlation = irfft2(first * second.conj(), s=(SIDE, SIDE))
    near = np.r_[0 : SHIFT + 1, -SHIFT:0]
    return correlation[:, near][:, :, near].max(axis=(1, 2))
