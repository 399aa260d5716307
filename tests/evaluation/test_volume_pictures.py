from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from pu_unet_monai.evaluation.volume_pictures import draw_three_planes


def test_slices_have_the_numbers_of_the_file(tmp_path: Path, monkeypatch) -> None:
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda axes, title, **options: titles.append(title))
    regions = np.zeros((3, 8, 9, 10), np.uint8)
    regions[1, 3, 4:6, 2:5] = 1
    regions[1, 2:5, 4, 3] = 1  # most of it lies in x = 3, y = 4, z = 3
    image = np.random.default_rng(0).random((4, 8, 9, 10))
    # the file's axes are (z, x, y), y counts down from 40, and all begin elsewhere
    to_file = np.array([[0, 0, 1, 20.0], [1, 0, 0, 5], [0, -1, 0, 40], [0, 0, 0, 1]])
    draw_three_planes(image, regions, (1.0, 1.0, 1.0), to_file, tmp_path / "planes.png", "case")
    planes = ["axial 23", "coronal 36", "sagittal 8"]
    assert titles == [f"{modality}, {plane}" for modality in ("FLAIR", "T1gd") for plane in planes]
    assert (tmp_path / "planes.png").stat().st_size > 1000
