"""Small datasets to prepare and small helpers to look at what came out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep import phantom

SPLITS = ("training", "validation", "test")


@pytest.fixture
def kvasir_source(tmp_path: Path) -> Path:
    """Twelve phantoms in the layout of Kvasir-SEG."""
    phantom.make(tmp_path / "kvasir", "kvasir", number=12, size=32)
    return tmp_path / "kvasir"


@pytest.fixture
def busi_source(tmp_path: Path) -> Path:
    """Forty phantoms in the layout of BUSI."""
    phantom.make(tmp_path / "busi", "busi", number=40, size=48)
    return tmp_path / "busi"


@pytest.fixture
def isic_source(tmp_path: Path) -> Path:
    """Twelve phantoms in the layout of ISIC 2018, training part only."""
    phantom.make(tmp_path / "isic", "isic2018", number=12, size=32)
    return tmp_path / "isic"


@pytest.fixture
def isic2017_source(tmp_path: Path) -> Path:
    """Twelve phantoms in the layout of ISIC 2017: nine to train on, two to validate and one to test."""
    phantom.make(tmp_path / "isic", "isic2017", number=12, size=32)
    return tmp_path / "isic"


@pytest.fixture
def entries() -> Callable[[Path], list[dict[str, Any]]]:
    """A function that returns all entries of a datalist, each with its split under ``split``."""

    def read(path: Path) -> list[dict[str, Any]]:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [{**entry, "split": name} for name in SPLITS for entry in content[name]]

    return read


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """A function that saves an array as an image and returns the path."""

    def save(path: Path, values: Any, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(values)).save(path, **options)
        return path

    return save


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command line which must fail, and returns its message.

    It checks the exit code, that nothing is said beside the message, and that no file appears in ``folder``.
    """

    def run(main: Callable[[list[str]], int], *argv: object, folder: Path) -> str:
        before = sorted(folder.rglob("*"))
        assert main([str(argument) for argument in argv]) == 2
        message = capsys.readouterr().err
        assert sorted(folder.rglob("*")) == before
        assert "Traceback" not in message
        return message[message.index("error: ") :]

    return run
