"""No thread gets another result of a function because it is called for the first time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
@pytest.mark.parametrize("module", ["pu_unet_monai.networks", "pu_unet_monai.data"])
def test_two_threads_at_once(module: str, full: bool) -> None:
    """Without the import a few of a thousand programs have another result."""
    if not full:
        pytest.skip("few programs show nothing (make test-all starts thousands)")
    command = [sys.executable, "-m", "tests.reliability.first_calls", "1500", module]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0"]
