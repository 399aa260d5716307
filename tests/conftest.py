"""Fixtures that all tests share."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).parents[1]
REAL = {"kvasir": "Kvasir-SEG", "busi": "Dataset_BUSI_with_GT", "isic2018": "ISIC2018"}
FULL = os.environ.get("PU_UNET_TESTS") == "full"
PYTHON = sys.executable
"""Python itself, for what a fork cannot stand for: limits, signals to groups, exact times and memory."""


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


@pytest.fixture(scope="session")
def prepared(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Give the folder of a real dataset and its datalist, which one of the processes that run tests has written."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def prepare(name: str) -> tuple[Path, Path]:
        datalist = folder / f"{name}.json"
        with FileLock(f"{datalist}.lock"):
            if not datalist.exists():
                importlib.import_module(f"data_prep.{name}").prepare(data_dir / REAL[name], datalist)
        return data_dir / REAL[name], datalist

    return prepare


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to try things many times over; ``make test-all`` does, it takes long."""
    return FULL


@pytest.fixture(scope="session", autouse=True)
def imports_done_once(full: bool) -> Iterator[None]:
    """Have ``sys.executable`` run this project's programs without the time of their imports, but for the full tests."""
    if full or sys.platform != "linux":
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        address, client = Path(folder, "server"), Path(folder, "python")
        words = [PYTHON, "-IS", REPOSITORY / "tests" / "fork_client.py", address, client, PYTHON]
        client.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        client.chmod(0o755)
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        command = [PYTHON, REPOSITORY / "tests" / "fork_server.py", address]
        # it ends when its standard input does, so with this process however that ends
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True):
            sys.executable = str(client)
            yield
            sys.executable = PYTHON
