"""One training of a comparison, with its evaluation: a variant under a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.evaluation.scores import add_groups
from pu_unet_monai.files import file_sha256, read_json, write_json
from pu_unet_monai.runtime.bundle_run import run_bundle

__all__ = ["Cell"]


@dataclass(frozen=True)
class Cell:
    """A variant trained and evaluated under a seed, in a folder of its own.

    The folder ends with ``config.json`` (an overlay that repeats the training with the bundle's own command),
    ``models/model.pt``, ``epochs.csv``, ``scores.csv``, ``examples.npz`` and the logs; a finished cell keeps no
    checkpoints.

    Args:
        variant: what is trained.
        seed: of the weights, the order and the augmentation.
        protocol: what all cells of the comparison share.
    """

    variant: Variant
    seed: int
    protocol: Protocol

    @property
    def folder(self) -> Path:
        """Where everything of the cell lies."""
        return self.protocol.output / self.variant.folder / f"seed_{self.seed}"

    @property
    def title(self) -> str:
        """What the cell is called on the screen."""
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def is_done(self) -> bool:
        """Whether the cell has been trained and evaluated."""
        return (self.folder / "done.json").is_file()

    def problem(self) -> str | None:
        """Say what is wrong if the folder holds a cell that was made in another way."""
        path = self.folder / "made_with.json"
        if not path.is_file():
            return None
        earlier, asked = read_json(path), self._made_with()
        others = [
            f"{key} {earlier.get(key)!r}, not {asked.get(key)!r}"
            for key in sorted(earlier.keys() | asked.keys())
            if earlier.get(key) != asked.get(key)
        ]
        if others:
            return f"{self.folder}: was made with {'; '.join(others)}"
        if self.is_done and read_json(self.folder / "done.json") != self._results():
            return f"{self.folder}: its weights or scores have changed since compare made them"
        return None

    def run(self) -> None:
        """Train from the newest checkpoint on, evaluate, and remove the checkpoints; nothing of that if it is done.

        Raises:
            UserError: if training or evaluation fails; the message names the log.
        """
        if self.is_done:
            return
        self._write("made_with.json", self._made_with())
        self._write("config.json", self._config())
        files, overlay = self.protocol.training_files(self.variant), self.folder / "config.json"
        self._run("training", [*files, overlay], {"resume": True})
        files += [self.protocol.config("evaluate.json"), self._examples()]
        self._run("evaluating", [*files, overlay], {"split": self.protocol.split})
        add_groups(self.folder / "scores.csv", self.protocol.groups)
        for checkpoint in (self.folder / "models").glob("checkpoint_epoch=*.pt"):
            checkpoint.unlink()
        self._write("done.json", self._results())

    def _run(self, run_id: str, files: Sequence[Path], options: Mapping[str, Any]) -> None:
        log = self.folder / f"{run_id}.log"
        print(f"{self.title}: {run_id}, see {log}", flush=True)
        run_bundle(run_id, self.protocol.bundle, files, options, log, self.title)

    def _results(self) -> dict[str, str | None]:
        """Return the hashes of what a finished cell holds."""
        files = {name: self.folder / name for name in ("models/model.pt", "scores.csv", "epochs.csv")}
        return {name: file_sha256(path) if path.is_file() else None for name, path in files.items()}

    def _made_with(self) -> dict[str, Any]:
        """All that decides the result, as JSON has it; where files lie does not."""
        identity = self.protocol.identity(self.variant)
        return json.loads(json.dumps({**identity, **self.variant.overrides, "seed": self.seed}))

    def _config(self) -> dict[str, Any]:
        """The overlay for the bundle's ``train.json``."""
        places = {
            "bundle_root": str(self.protocol.bundle.resolve()),
            "dataset_dir": str(self.protocol.dataset_dir.resolve()),
            "datalist_file": str(self.protocol.datalist_file.resolve()),
            "output_dir": str(self.folder.resolve()),
            "ckpt_dir": str((self.folder / "models").resolve()),
        }
        return {**places, **self.protocol.settings, **self.variant.overrides, "seed": self.seed}

    def _examples(self) -> Path:
        """Write the overlay that keeps small copies of some cases for the picture."""
        handler = {
            "_target_": "pu_unet_monai.handlers.ExamplesWriter",
            "path": "$@output_dir + '/examples.npz'",
            "cases": self.protocol.example_cases,
        }
        self._write("examples.json", {"+validate#handlers": [handler]})
        return self.folder / "examples.json"

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self.folder / name, content)
