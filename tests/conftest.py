"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, which holds the bundles."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real datasets; tests that need it are skipped where ``PU_UNET_DATA_DIR`` is unset."""
    folder = os.environ.get("PU_UNET_DATA_DIR")
    if not folder:
        pytest.skip("PU_UNET_DATA_DIR is not set")
    return Path(folder).resolve()
