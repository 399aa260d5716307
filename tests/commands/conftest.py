"""The brain bundle, small, for the commands on volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pu_unet_monai.networks.nets import PUUNet


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory) -> Path:
    """The BraTS bundle at a small width, with random weights that give all regions."""
    folder = tmp_path_factory.mktemp("bundle") / "pu_unet_brats"
    source = repository / "bundles" / "pu_unet_brats"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.pt", "output", "data"))
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text()) | {"channels": [8, 16], "roi_size": [32, 32, 32], "amp": False}
    path.write_text(json.dumps(config))
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network().state_dict(), folder / "models" / "model.pt")
    return folder


def network() -> PUUNet:
    torch.manual_seed(3)
    net = PUUNet(spatial_dims=3, in_channels=4, out_channels=3, channels=(8, 16)).eval()
    with torch.no_grad():  # TC, WT and ET each in a part of the volume
        net.head.weight.mul_(3)
        net.head.bias.copy_(torch.tensor([-0.3, 0.3, -0.6]))
    return net
