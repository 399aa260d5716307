"""Copies of the bundles with small networks of random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from pu_unet_monai.networks.nets import PUUNet

__all__ = ["small_bundle"]


def small_bundle(repository: Path, name: str, folder: Path, **keys: Any) -> Path:
    """Return a copy of a PU-UNet's bundle whose masks are about half foreground.

    Args:
        repository: root of the checkout.
        name: name of the bundle.
        folder: where to.
        keys: what to change in its ``inference.json``.
    """
    shutil.copytree(repository / "bundles" / name, folder, ignore=shutil.ignore_patterns("models"))
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channels": [8, 16], **keys}))
    volumes = name == "pu_unet_brats"
    sizes = {"spatial_dims": 3, "in_channels": 4, "out_channels": 3} if volumes else {}
    torch.manual_seed(3)
    network = PUUNet(channels=(8, 16), **sizes)
    with torch.no_grad():
        network.head.bias.zero_()
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder
