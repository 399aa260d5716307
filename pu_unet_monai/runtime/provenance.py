"""What a result was made with."""

from __future__ import annotations

import platform
from typing import Any

import monai
import torch

from pu_unet_monai import __version__
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.machine import openvino_version

__all__ = ["provenance"]


def provenance(bundle: TrainedBundle) -> dict[str, Any]:
    """Say which bundle, weights and versions gave a result, for a report in JSON.

    ``weights_note`` is what the bundle's metadata say of these very weights, or None.
    """
    return {
        "notice": NOTICE,
        "bundle": bundle.name,
        "bundle_version": bundle.metadata.get("version"),
        "package_version": __version__,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "monai": monai.__version__,
            "openvino": openvino_version(),
        },
        "weights_sha256": bundle.weights_sha256,
        "weights_note": bundle.metadata.get("weights_notes", {}).get(bundle.weights_sha256),
    }
