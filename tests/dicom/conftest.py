"""A small head as DICOM series."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom)")

SHAPE = (30, 34, 26)
DESCRIPTIONS = ("AX FLAIR", "AX T1", "AX T1 POST", "AX T2")
LPS = np.array([[-1.0, 0, 0, 12.5], [0, -1.0, 0, 40.25], [0, 0, 1.0, -7.5], [0, 0, 0, 1]])


def oblique(spacing: tuple[float, float, float] = (1.0, 1.0, 1.2)) -> NDArray[np.float64]:
    """An affine to RAS whose axes are turned about all three axes of the body."""
    a, b = np.radians(17), np.radians(-9)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1, -1, 1]) @ np.diag(spacing)
    affine[:3, 3] = [22.5, 30.125, -18.75]
    return affine


@pytest.fixture(scope="session")
def head() -> NDArray[np.int16]:
    """A synthetic head, (x, y, z, 4)."""
    from data_prep.volume_phantom_scene import paint_head

    return paint_head(np.random.default_rng(5), SHAPE, True)[0]
