"""How much is tried, and where the figures of it are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pu_unet_monai.runtime.machine import machine
from tests.reliability.tally import Tally


@pytest.fixture(scope="session")
def record() -> Callable[[str, str, Any], None]:
    """Keep a figure in the file that ``PU_UNET_FIGURES`` names, if any: what was tried, of what, how often."""

    def keep(part: str, name: str, value: Any) -> None:
        file = os.environ.get("PU_UNET_FIGURES")
        if not file:
            return
        path = Path(file)
        with FileLock(path.with_suffix(".lock")):
            figures = json.loads(path.read_text()) if path.is_file() else {}
            figures["machine"] = machine()
            figures.setdefault(part, {})[name] = value
            path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")

    return keep


@pytest.fixture(scope="module")
def tally(record, request) -> Iterator[Tally]:
    """Count what a module's tests try, and keep the figures if none of them failed."""
    counted, failed = Tally(), request.session.testsfailed
    yield counted
    if request.session.testsfailed == failed:
        counted.keep(record)
