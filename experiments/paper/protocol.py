"""What is trained: the variants of the paper's tables 2, 3 and 5, on its three datasets, at a size that CPUs bear."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DATASETS", "SEEDS", "SETTINGS", "VARIANTS", "WEIGHTS_GOALS", "Dataset", "Goal"]


@dataclass(frozen=True)
class Dataset:
    """A dataset of the paper.

    Args:
        title: what the paper calls it.
        bundle: name of the bundle.
        module: module of ``data_prep``.
        folder: its folder beside those of the others.
        copied: what differs between the images that were used here and the published ones.
        every: of how many training images one is used. Defaults to 1.
    """

    title: str
    bundle: str
    module: str
    folder: str
    copied: str
    every: int = 1


DATASETS = {
    "kvasir": Dataset("Kvasir-SEG", "pu_unet_kvasir", "kvasir", "Kvasir-SEG", "reduced to at most 448 px a side"),
    "busi": Dataset(
        "BUSI (incl. normal)", "pu_unet_busi", "busi", "Dataset_BUSI_with_GT", "reduced to at most 288 px a side"
    ),
    "isic2018": Dataset(
        "ISIC 2018",
        "pu_unet_isic2018",
        "isic2018",
        "ISIC2018",
        "reduced to 352x352 of their centre, and compressed again",
        every=3,
    ),
}

VARIANTS = {
    "pu_unet:placement=none": "Residual U-Net (w/o product-unit)",
    "pu_unet:placement=bottleneck": "Bottleneck only",
    "pu_unet:placement=low_resolution": "Low-resolution stages (PU-UNet)",
    "pu_unet:placement=all": "All stages",
    "pu_unet:positivity=lower_bound": "w/ simpler lower-bound truncation",
    "pu_unet:log_clip=null": "w/o log-domain clipping",
}
"""What ``compare`` calls each, and what the paper does; the first is the baseline of all differences."""


@dataclass(frozen=True)
class Goal:
    """What published weights were to reach on the test split.

    Args:
        cpu: the mean Dice from hours on a CPU.
        gpu: the mean Dice of the full recipe on a GPU, if there is a goal.
        if_missed: why, and what was tried, in case that from a CPU is missed.
    """

    cpu: float
    gpu: float | None = None
    if_missed: str = "no more was tried."


WEIGHTS_GOALS = {
    "pu_unet_kvasir": Goal(
        0.83,
        0.88,
        "the weights are those of the grid, an hour on one core. A training of the full width at 128x128 (46 epochs at "
        "1e-3, batch 16) reached 0.744, see [more results](more_results.md); a longer one of this width (80 epochs at "
        "1e-3, batch 16) was begun and not finished in the hours at hand.",
    ),
    "pu_unet_busi": Goal(0.65, 0.75),
    "pu_unet_isic2018": Goal(0.85, 0.88),
    "r2_unet_isic2017": Goal(0.85),
}

SEEDS = (0, 1, 2)
SETTINGS = {
    "image_size": 128,
    "channels": [16, 32, 64, 128, 256],
    "max_epochs": 40,
    "val_interval": 5,
    "num_workers": 0,
}
"""Beside these, the bundles' own: AdamW 3e-4, weight decay 1e-4, batch 8, cosine to 0."""
