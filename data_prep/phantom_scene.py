"""One synthetic picture: tissue, lesions, and distractors that only look like lesions to a threshold.

A lesion is told from a distractor by what is seen locally: a coarse grain inside, a rim at its edge, and (in colour)
its hue. Brightness alone says little, since distractors share it and the light is uneven.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["COLON", "SKIN", "ULTRASOUND", "Look", "paint"]

Plane = NDArray[np.float64]
Colour = tuple[float, float, float]

REFERENCE = 96
"""Side in pixels for which all lengths below are given; other sizes scale them."""


@dataclass(frozen=True)
class Look:
    """What a kind of image looks like.

    Args:
        tissue: colour of the background.
        lesion: colour towards which lesions shift.
        darker: share of lesions that are darker than their surround; the others are brighter.
        contrast: smallest and largest relative difference in brightness between a lesion and its surround.
        grain: strength of the coarse texture inside lesions.
        speckle: relative strength of the multiplicative speckle.
        folds: largest number of ridges.
        hairs: largest number of thin dark lines.
        highlights: largest number of specular highlights.
        shadows: largest number of dark bands that widen downwards.
    """

    tissue: Colour
    lesion: Colour
    darker: float
    contrast: tuple[float, float]
    grain: float
    speckle: float
    folds: int = 0
    hairs: int = 0
    highlights: int = 0
    shadows: int = 0


COLON = Look((0.74, 0.45, 0.36), (0.80, 0.26, 0.24), 0.4, (0.05, 0.3), 0.12, 0.06, folds=4, highlights=6, shadows=1)
SKIN = Look((0.82, 0.64, 0.54), (0.50, 0.33, 0.20), 0.85, (0.1, 0.4), 0.16, 0.05, hairs=7, highlights=1, shadows=1)
ULTRASOUND = Look((0.42, 0.42, 0.42), (0.42, 0.42, 0.42), 0.75, (0.2, 0.5), 0.3, 0.2, folds=5, shadows=2)


def paint(
    rng: np.random.Generator, size: int, look: Look, lesions: int, roughness: float = 0.12
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Paint one picture.

    Args:
        rng: source of all randomness.
        size: side of the picture in pixels.
        look: what kind of picture it is.
        lesions: number of lesions; they do not touch.
        roughness: how irregular their outlines are.

    Returns:
        The picture of shape (size, size, 3) and one mask per lesion.
    """
    scale = size / REFERENCE
    taken = np.zeros((size, size), dtype=bool)
    masks = [_place(rng, taken, scale, (9.0, 22.0) if lesions == 1 else (8.0, 13.0), roughness) for _ in range(lesions)]
    decoys = [_place(rng, taken, scale, (6.0, 16.0), 0.12) for _ in range(rng.integers(2, 4))]

    brightness = 1 + 0.07 * _noise(rng, size, 8 * scale) + 0.03 * _noise(rng, size, 2 * scale)
    for _ in range(rng.integers(look.folds // 2, look.folds + 1)):
        brightness *= 1 + rng.choice([-0.2, 0.3]) * _line(rng, size, rng.uniform(1.5, 3.5) * scale)
    tint = np.zeros((size, size))
    for decoy in decoys:
        soft = _soften(decoy, rng.uniform(0.8, 2.0) * scale)
        brightness *= 1 + _contrast(rng, look) * soft
        tint += rng.uniform(0.0, 0.5) * soft
    for mask in masks:
        brightness, tint = _add_lesion(rng, brightness, tint, mask, look, scale)
    for _ in range(rng.integers(0, look.hairs + 1)):
        brightness *= 1 - 0.55 * _line(rng, size, 0.5 * scale)
    for _ in range(rng.integers(0, look.shadows + 1)):
        brightness *= 1 - rng.uniform(0.3, 0.6) * _shadow(rng, size, scale)
    brightness *= _light(rng, size) * _speckle(rng, size, look.speckle, scale)

    colour = np.array(look.tissue) * rng.uniform(0.92, 1.08, 3 if look.tissue != look.lesion else 1)
    hue = colour + tint[..., None] * (np.array(look.lesion) - np.array(look.tissue))
    picture = hue * brightness[..., None]
    for _ in range(rng.integers(0, look.highlights + 1)):
        picture += _highlight(rng, size, scale)[..., None]
    return (255 * picture.clip(0, 1)).round().astype(np.uint8), masks


def _add_lesion(
    rng: np.random.Generator, brightness: Plane, tint: Plane, mask: NDArray[np.bool_], look: Look, scale: float
) -> tuple[Plane, Plane]:
    inside = _soften(mask, rng.uniform(0.5, 1.0) * scale)
    rim = 4 * inside * (1 - inside)
    grain = _noise(rng, len(mask), 1.1 * scale) - 0.5 * _noise(rng, len(mask), 2.2 * scale)
    contrast = _contrast(rng, look)
    brightness = brightness * (1 + inside * (contrast + look.grain * grain) - np.sign(contrast) * 0.12 * rim)
    return brightness, np.maximum(tint, rng.uniform(0.45, 1.0) * inside)


def _contrast(rng: np.random.Generator, look: Look) -> float:
    return float(rng.uniform(*look.contrast) * (-1 if rng.random() < look.darker else 1))


def _place(
    rng: np.random.Generator, taken: NDArray[np.bool_], scale: float, radii: tuple[float, float], roughness: float
) -> NDArray[np.bool_]:
    """Return a blob that keeps clear of what is taken, and take its place; it shrinks until it fits."""
    size = len(taken)
    radius = rng.uniform(*radii) * scale
    while True:
        blob = _blob(rng, size, rng.uniform(0.15, 0.85, 2) * size, radius, roughness)
        if blob.any() and not (_soften(blob, 2 * scale) > 0.02)[taken].any():
            taken |= blob
            return blob
        radius = max(0.95 * radius, 1.0)


def _blob(rng: np.random.Generator, size: int, centre: Plane, radius: float, roughness: float) -> NDArray[np.bool_]:
    """Return an ellipse with a wavy outline."""
    y, x = np.mgrid[:size, :size] - centre[:, None, None]
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.35)
    across, along = (np.cos(turn) * x + np.sin(turn) * y) / stretch, (np.cos(turn) * y - np.sin(turn) * x) * stretch
    angle = np.arctan2(along, across)
    outline = np.ones((size, size))
    for wave in range(2, 8):
        outline += roughness * rng.normal() / wave**0.7 * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(across, along) < radius * np.maximum(outline, 0.4)


def _line(rng: np.random.Generator, size: int, width: float) -> Plane:
    """Return a curved line across the picture, 1 on the line and 0 away from it."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    turn = rng.uniform(0, np.pi)
    across, along = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    bend = rng.uniform(-0.45, 0.45) + rng.uniform(-0.6, 0.6) * along**2
    bend = bend + rng.uniform(0, 0.06) * np.sin(rng.uniform(4, 12) * along + rng.uniform(0, 6))
    return np.exp(-(((across - bend) * size / width) ** 2))


def _shadow(rng: np.random.Generator, size: int, scale: float) -> Plane:
    """Return a band that widens downwards from a random height."""
    y, x = np.mgrid[:size, :size] / size
    top, centre, width = rng.uniform(-0.3, 0.5), rng.uniform(0, 1), rng.uniform(0.06, 0.14)
    band = (np.abs(x - centre) < width * (0.7 + 0.8 * (y - top))) & (y > top)
    return _soften(band, 4 * scale)


def _highlight(rng: np.random.Generator, size: int, scale: float) -> Plane:
    spot = _blob(rng, size, rng.uniform(0.05, 0.95, 2) * size, rng.uniform(1.2, 3.0) * scale, 0.2)
    return rng.uniform(0.4, 0.9) * _soften(spot, 0.5 * scale)


def _light(rng: np.random.Generator, size: int) -> Plane:
    """Return uneven light: a gradient in a random direction and darker corners."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    gradient = rng.uniform(0.2, 0.7) * (np.cos(turn) * x + np.sin(turn) * y)
    return (1 + gradient) * (1 - rng.uniform(0.3, 0.9) * (x**2 + y**2))


def _speckle(rng: np.random.Generator, size: int, strength: float, scale: float) -> Plane:
    """Return multiplicative speckle: the amplitude of a random complex field, with mean 1."""
    field = np.hypot(_noise(rng, size, 0.6 * scale), _noise(rng, size, 0.6 * scale))
    return 1 + strength * (field / field.mean() - 1) / (field.std() / field.mean())


def _noise(rng: np.random.Generator, size: int, length: float) -> Plane:
    """Return smooth noise with mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.normal(size=(size, size)), length, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _soften(mask: NDArray[np.bool_], length: float) -> Plane:
    return gaussian_filter(mask.astype(np.float64), length)
