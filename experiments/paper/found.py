"""What the grid found on one dataset: the kept scores, by variant and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.scores import groups_of, scores_of
from pu_unet_monai.files import read_csv, read_json

__all__ = ["FIRST", "PAIR", "PU", "Found"]

FIRST, PU = "pu_unet:placement=none", "pu_unet:placement=low_resolution"
PAIR = {PU: "PU-UNet", FIRST: "Residual U-Net"}


@dataclass(frozen=True)
class Found:
    """What the grid found on one dataset.

    Args:
        folder: its folder among the results.
    """

    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Scores of every image, variant and seed."""
        return read_csv(self.folder / "scores.csv")

    @cached_property
    def trainings(self) -> list[dict[str, str]]:
        """A row for every training."""
        return read_csv(self.folder / "trainings.csv")

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """What all trainings share."""
        return read_json(self.folder / "protocol.json", "collect again")

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of every image: those of one scene are not independent of each other."""
        return groups_of(self.rows)

    def check(self) -> None:
        """Check that all trainings have scores of the same images: means and differences of others mean nothing.

        Raises:
            UserError: naming a training that has not.
        """
        trainings = dict.fromkeys((row["variant"], row["seed"]) for row in self.rows)
        scored = {(variant, seed): set(self.of_seed(variant, seed, "dice")) for variant, seed in trainings}
        most = max(scored.values(), key=len)
        for (variant, seed), cases in scored.items():
            if cases != most:
                raise UserError(
                    f"{self.folder / 'scores.csv'}: {variant} under seed {seed} has a Dice of {len(cases)} images, "
                    f"others of {len(most)} (such as {min(most ^ cases)}); train it again, and collect."
                )

    def seeds(self, variant: str) -> list[str]:
        """Return the seeds under which a variant was trained to the end."""
        return sorted({row["seed"] for row in self.rows if row["variant"] == variant})

    def of_seed(self, variant: str, seed: str, metric: str) -> dict[str, float]:
        """Return the scores of a variant's training, by image."""
        return scores_of([row for row in self.rows if (row["variant"], row["seed"]) == (variant, seed)], metric)

    def scores(self, variant: str, metric: str, seeds: Sequence[str]) -> dict[str, float]:
        """Return the scores of a variant by image, of each image the mean over some seeds."""
        return _means([self.of_seed(variant, seed, metric) for seed in seeds])

    def failures(self, variant: str) -> dict[str, str]:
        """Return why trainings of a variant failed, by their seed."""
        rows = [row for row in self.trainings if row["variant"] == variant and row["failed"]]
        return {row["seed"]: row["failed"] for row in rows if row["done"] != "1"}

    def paired_seeds(self, variant: str) -> list[str]:
        """Return the seeds under which both a variant and the baseline were trained to the end."""
        return [seed for seed in self.seeds(variant) if seed in self.seeds(FIRST)]

    def gains_of_seed(self, variant: str, seed: str, metric: str) -> dict[str, float]:
        """Return by image how much better a variant is than the baseline under a seed."""
        own, first = self.of_seed(variant, seed, metric), self.of_seed(FIRST, seed, metric)
        return {case: own[case] - first[case] for case in own if case in first}

    def gains(self, variant: str, metric: str) -> dict[str, float]:
        """Return by image how much better a variant is than the baseline, the mean over the seeds that both have."""
        return _means([self.gains_of_seed(variant, seed, metric) for seed in self.paired_seeds(variant)])


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each image over the seeds that have it."""
    cases = dict.fromkeys(case for of_seed in scores for case in of_seed)
    return {case: fmean(of_seed[case] for of_seed in scores if case in of_seed) for case in cases}
