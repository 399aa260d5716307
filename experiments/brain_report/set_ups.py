"""What is compared: the report's three set-ups, and its own recipe as the control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUNDLE", "CONFIGS", "REPOSITORY", "SET_UPS", "SetUp", "config_files"]

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "pu_unet_brats"
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class SetUp:
    """One row of the table.

    Args:
        title: what it is, in words.
        overlays: configurations laid over the bundle's training and ``common.json``, in this order.
        epochs: number of epochs that is trained if none is asked for.
    """

    title: str
    overlays: tuple[str, ...]
    epochs: int


_EPOCHS = 30

SET_UPS: Mapping[str, SetUp] = {
    "slices": SetUp("2D slices", ("slices",), _EPOCHS),
    "minicubes": SetUp("3D minicubes", ("minicubes",), _EPOCHS),
    "minicubes_context": SetUp("3D minicubes with context", ("minicubes", "minicubes_context"), _EPOCHS),
    "report_recipe": SetUp(
        "3D minicubes, report's recipe", ("minicubes", "report_loss", "raw_intensities", "no_norm_layers"), _EPOCHS
    ),
    "report_our_loss": SetUp(
        "report's recipe with our loss", ("minicubes", "raw_intensities", "no_norm_layers"), _EPOCHS
    ),
    "report_z_scores": SetUp("report's recipe with z-scores", ("minicubes", "report_loss", "no_norm_layers"), _EPOCHS),
    "report_norm_layers": SetUp(
        "report's recipe with norm layers", ("minicubes", "report_loss", "raw_intensities"), _EPOCHS
    ),
}
"""By name, in the order of the table. The last three mend the report's recipe in one point each."""


def config_files(name: str) -> list[Path]:
    """Return the configurations that train a set-up, to be laid one over the other.

    Args:
        name: a key of ``SET_UPS``.
    """
    overlays = ("common", *SET_UPS[name].overlays)
    return [BUNDLE / "configs" / "train.json", *(CONFIGS / f"{overlay}.json" for overlay in overlays)]
