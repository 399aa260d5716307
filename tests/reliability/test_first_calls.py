"""No thread gets another result of a function because it is called for the first time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from pu_unet_monai.data import ReproducibleDataset
from pu_unet_monai.networks import create_network
from pu_unet_monai.vector_math import settle_vector_math
from tests.conftest import REPOSITORY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_two_threads_at_once(full: bool) -> None:
    """Without the calls before, a few of a thousand programs have another result."""
    if not full:
        pytest.skip("few programs show nothing (make test-all starts thousands)")
    command = [sys.executable, "-m", "tests.reliability.first_calls", "3000", "--settled"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0"]


def test_datasets_and_networks_call_before_their_threads_do() -> None:
    for make in (lambda: ReproducibleDataset([torch.ones(1)]), lambda: create_network("pu_unet", channels=(8, 16))):
        settle_vector_math.cache_clear()
        make()
        assert settle_vector_math.cache_info().currsize == 1
