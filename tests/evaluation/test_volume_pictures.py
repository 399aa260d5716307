from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from PIL import Image

from pu_unet_monai.evaluation.confusion_matrix import draw_confusion_matrix
from pu_unet_monai.evaluation.pictures import Example, draw_gallery
from pu_unet_monai.evaluation.volume_pictures import draw_three_planes
from tests.conftest import FULL


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


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(max_examples=100 if FULL else 6, deadline=None)
@given(st.text(min_size=1, max_size=250))
@example("p$1_$2")
@example("$ $ \\frac{")
@example("M\udcfcller\n\x1b[2J")
def test_any_name_can_be_drawn(name: str) -> None:
    square = np.zeros((8, 8), np.uint8)
    example = Example(name, np.zeros((8, 8, 3), np.uint8), square > 0, square > 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw_three_planes(np.zeros((1, 4, 5, 6)), np.zeros((3, 4, 5, 6)), (1.0,) * 3, np.eye(4), path, name, [name])
        path.unlink()
        draw_gallery([example], path, name)
        path.unlink()
        draw_confusion_matrix(np.eye(2, dtype=int), [name, name], path, name)
        assert path.stat().st_size > 1000


def test_long_titles_are_wrapped(tmp_path: Path) -> None:
    path, title = tmp_path / "planes.png", "x" * 240
    draw_three_planes(np.zeros((1, 4, 5, 6)), np.zeros((3, 4, 5, 6)), (1.0,) * 3, np.eye(4), path, title, ["T1"])
    with Image.open(path) as picture:
        title = np.asarray(picture.convert("L"))[:20] < 128
    assert title.any()
    assert not title[:, [0, -1]].any()  # it does not run out of the picture
