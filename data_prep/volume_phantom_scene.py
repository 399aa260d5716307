"""One synthetic head: brain tissue, a tumour of three nested parts, and bright spots that are no tumour.

Contrasts follow MRI: edema is bright in FLAIR and T2w, the enhancing rim in T1gd, the core dark in T1w. None of them
is enough by itself: lesions of the white matter share the edema's brightness, vessels that of the rim, cerebrospinal
fluid is brighter than either in T2w, and every image has a gain, a bias field and noise of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["EDEMA", "ENHANCING", "NON_ENHANCING", "paint_head"]

NON_ENHANCING, EDEMA, ENHANCING = 1, 2, 3
"""Values of the label map."""

Volume = NDArray[np.float64]

REFERENCE = 56
"""Longest side in voxels for which all lengths below are given; other sizes scale them."""
SCALE = 1000.0
NOISE = 0.05
BIAS = 0.15

# FLAIR, T1w, T1gd, T2w, relative to SCALE
GREY = (0.66, 0.52, 0.55, 0.60)
WHITE = (0.52, 0.72, 0.74, 0.45)
FLUID = (0.20, 0.22, 0.24, 1.25)
LESION = (1.00, 0.56, 0.58, 0.90)
VESSEL = (0.50, 0.60, 1.40, 0.40)
TUMOUR = {
    NON_ENHANCING: (0.74, 0.36, 0.38, 1.00),
    EDEMA: (0.95, 0.56, 0.58, 0.92),
    ENHANCING: (0.85, 0.58, 1.30, 0.78),
}


def paint_head(
    rng: np.random.Generator, shape: Sequence[int], enhancing: bool
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Paint one head.

    Args:
        rng: source of all randomness.
        shape: voxels along x, y and z, at least 16 each.
        enhancing: whether the tumour has an enhancing part.

    Returns:
        The image of shape (x, y, z, 4), FLAIR, T1w, T1gd, T2w, 0 outside the head and above 0 inside, and the label
        map of shape (x, y, z): 1 non-enhancing core, 2 edema, 3 enhancing tumour.
    """
    scale = max(shape) / REFERENCE
    half = rng.uniform(0.41, 0.47, 3) * shape
    middle = (np.array(shape) - 1) / 2
    depth = _radius(rng, shape, middle, half, 0.04, 5 * scale)
    head = depth < 1
    means = _tissue(rng, shape, depth, middle, half, scale)
    _add_distractors(rng, means, depth, scale)
    label = _tumour(rng, depth, half, scale, enhancing)
    for part, mean in TUMOUR.items():
        means[label == part] = mean
    return _acquire(rng, means, head, scale), label


def _tissue(
    rng: np.random.Generator, shape: Sequence[int], depth: Volume, middle: Volume, half: Volume, scale: float
) -> Volume:
    """Return the means of grey and white matter and of the ventricles, (x, y, z, 4)."""
    means = np.empty((*shape, 4))
    means[:] = WHITE
    means[depth + 0.06 * _noise(rng, shape, 1.5 * scale) > 0.8] = GREY
    for side in (-1, 1):
        centre = middle + half * (side * rng.uniform(0.14, 0.2), rng.uniform(-0.1, 0.1), rng.uniform(0, 0.15))
        radii = half * (rng.uniform(0.08, 0.14), rng.uniform(0.3, 0.42), rng.uniform(0.15, 0.25))
        means[_radius(rng, shape, centre, radii, 0.1, 3 * scale) < 1] = FLUID
    return means


def _add_distractors(rng: np.random.Generator, means: Volume, depth: Volume, scale: float) -> None:
    """Paint lesions as bright as edema in FLAIR, and vessels as bright as an enhancing rim in T1gd."""
    inside = np.argwhere(depth < 0.85)
    for mean, number, smallest, largest in ((LESION, 8, 1.5, 4.5), (VESSEL, 12, 1.0, 2.2)):
        for _ in range(rng.integers(number // 2, number + 1)):
            stretch = rng.uniform(1.0, 2.5, 3) if mean is VESSEL else np.ones(3)
            radii = rng.uniform(smallest, largest) * scale * stretch
            spot = _radius(rng, depth.shape, rng.choice(inside), radii, 0.1, 2 * scale) < 1
            means[spot & (depth < 0.95)] = mean


def _tumour(rng: np.random.Generator, depth: Volume, half: Volume, scale: float, enhancing: bool) -> NDArray[np.uint8]:
    """Return the label map of a tumour whose parts all exist: a core, a rim around it, edema around both."""
    while True:
        centre = rng.choice(np.argwhere(depth < 0.6))
        radii = rng.uniform(0.3, 0.48) * half.min() * rng.uniform(0.85, 1.25, 3)
        distance = _radius(rng, depth.shape, centre, radii, 0.12, 3 * scale)
        rim, core = rng.uniform(0.55, 0.75), rng.uniform(0.35, 0.5)
        label = np.zeros(depth.shape, dtype=np.uint8)
        label[(distance < 1) & (depth < 0.93)] = EDEMA
        label[(distance < rim) & (depth < 0.93)] = ENHANCING if enhancing else NON_ENHANCING
        label[(distance < core) & (depth < 0.93)] = NON_ENHANCING
        parts = {NON_ENHANCING, EDEMA, ENHANCING} if enhancing else {NON_ENHANCING, EDEMA}
        if parts <= set(np.unique(label).tolist()):
            return label


def _acquire(rng: np.random.Generator, means: Volume, head: NDArray[np.bool_], scale: float) -> NDArray[np.int16]:
    """Turn means into what a scanner gives: partial volumes, texture, bias field, gain and noise; int16."""
    image = np.zeros(means.shape, dtype=np.int16)
    texture = _noise(rng, head.shape, 1.2 * scale)
    for channel in range(means.shape[-1]):
        values = gaussian_filter(means[..., channel], 0.5 * scale) * (1 + 0.05 * texture)
        values *= 1 + BIAS * _noise(rng, head.shape, 12 * scale)
        values += NOISE * rng.normal(size=head.shape)
        values *= SCALE * rng.uniform(0.7, 1.3)
        image[..., channel][head] = values.round().clip(1, np.iinfo(np.int16).max)[head]
    return image


def _radius(
    rng: np.random.Generator, shape: Sequence[int], centre: Volume, radii: Volume, roughness: float, length: float
) -> Volume:
    """Return the distance from a centre, 1 on the surface of an uneven ellipsoid."""
    axes = [(np.arange(size) - c) / r for size, c, r in zip(shape, centre, radii, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(x**2 + y**2 + z**2) * (1 + roughness * _noise(rng, shape, length))


def _noise(rng: np.random.Generator, shape: Sequence[int], length: float) -> Volume:
    """Return smooth noise with mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.normal(size=tuple(shape)), length, mode="wrap")
    return (noise - noise.mean()) / noise.std()
