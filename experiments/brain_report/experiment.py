"""Training and evaluating set-ups by the bundle's own commands, each only if it has not been done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.brain_report.set_ups import BUNDLE, CONFIGS, REPOSITORY, config_files
from pu_unet_monai.runtime.bundle_run import run_bundle

__all__ = ["PARTS", "Experiment"]

PARTS = ("training", "test")
"""The parts of the datalist that set-ups are evaluated on."""


@dataclass(frozen=True)
class Experiment:
    """What all set-ups of one run share.

    Args:
        output: folder with a folder for each set-up.
        threads: processor cores to use.
        overrides: keys to set in the bundle's configuration.
    """

    output: Path
    threads: int
    overrides: Mapping[str, Any]

    def train(self, name: str, epochs: int) -> None:
        """Train a set-up from its last checkpoint on; not at all if it has had its epochs.

        Args:
            name: the set-up.
            epochs: how many epochs it shall have had.

        Raises:
            UserError: if the training fails; the message names its log.
        """
        folder = self.output / name
        if not (folder / "models" / f"checkpoint_epoch={epochs}.pt").is_file():
            more = {"output_dir": folder, "max_epochs": epochs, "resume": True}
            self._run_bundle("training", name, config_files(name), more)

    def evaluate(self, name: str, part: str) -> None:
        """Evaluate the best weights of a set-up on a part of the datalist; not again while they are the same.

        Scores, confusion matrix and label maps go to a folder named as the part.

        Args:
            name: the set-up.
            part: one of ``PARTS``.

        Raises:
            UserError: if the evaluation fails; the message names its log.
        """
        folder = self.output / name / part
        weights = self.output / name / "models" / "model.pt"
        if not all(_is_newer(folder / file, weights) for file in ("scores.json", "confusion_matrix.json")):
            files = [*config_files(name), BUNDLE / "configs" / "evaluate.json", CONFIGS / "predictions.json"]
            self._run_bundle("evaluating", name, files, {"output_dir": folder, "split": part})

    def _run_bundle(self, run_id: str, name: str, files: Sequence[Path], more: Mapping[str, Any]) -> None:
        """Run a command of the bundle on a set-up."""
        log = more["output_dir"] / f"{run_id}.log"
        print(f"{name}: {run_id}, see {log}", flush=True)
        options = {"ckpt_dir": self.output / name / "models", **self.overrides, **more}
        environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(self.threads)}
        run_bundle(run_id, BUNDLE, files, options, log, name, environment)


def _is_newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime >= than.stat().st_mtime
