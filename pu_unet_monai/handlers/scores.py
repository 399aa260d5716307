"""Scores of every case of an evaluation, as CSV, and their means, as JSON."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.utils import CommonKeys, convert_to_tensor, string_list_all_gather

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.errors import UserError
from pu_unet_monai.files import write_csv, write_json

__all__ = ["ScoresWriter"]

_log = logging.getLogger(__name__)


class ScoresWriter:
    """Ignite handler that writes ``scores.csv`` (one row a case) and ``scores.json`` (means) after an evaluation.

    The columns are ``case,split,seed`` and the engine's metrics by name; a score that does not exist for a case
    (Dice where the truth is empty) is left blank and does not count in the mean. The mean of a metric without any
    score is null.

    A metric of several channels has a column a channel: ``dice_0``, or ``dice_TC`` with ``channel_names``. With these,
    ``empty`` in ``scores.json`` is the number of cases whose truth is empty, by channel.

    Args:
        output_dir: folder of the two files.
        split: what was evaluated, for the column ``split``.
        seed: seed of the training, for the column ``seed``.
        channel_names: names of the channels that are scored, such as the regions. Defaults to none.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], split: str, seed: int, channel_names: Sequence[str] = ()
    ) -> None:
        self.output_dir = Path(output_dir)
        self.split = split
        self.seed = seed
        self.channel_names = tuple(channel_names)
        self._cases: list[str] = []

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator whose metrics keep their details."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Evaluator) -> None:
        """Begin an evaluation."""
        self._cases = []
        self._empty = torch.zeros(len(self.channel_names), dtype=torch.int64)

    def add(self, engine: Evaluator) -> None:
        """Note the names of the cases of a batch, and which of their channels are empty.

        Raises:
            UserError: if a label has another number of channels than there are names.
        """
        for item, result in zip(engine.state.batch, engine.state.output, strict=True):
            name = case_name(item[CommonKeys.IMAGE])
            self._cases.append(name)
            if self.channel_names:
                self._empty += self._find_empty(result[CommonKeys.LABEL], name)

    def write(self, engine: Evaluator) -> None:
        """Write both files."""
        cases = string_list_all_gather(self._cases)
        empty = convert_to_tensor(idist.all_reduce(self._empty)).tolist() if self.channel_names else []
        if engine.state.rank != 0:
            return
        columns = self._columns(engine)
        rows = [
            {"case": case, "split": self.split, "seed": self.seed}
            | {name: "" if math.isnan(scores[i]) else f"{scores[i]:.6f}" for name, scores in columns.items()}
            for i, case in enumerate(cases)
        ]
        rows.sort(key=lambda row: str(row["case"]))
        write_csv(self.output_dir / "scores.csv", rows, ["case", "split", "seed", *columns])
        summary = {name: _mean(scores) for name, scores in columns.items()}
        content = {"split": self.split, "seed": self.seed, "means": summary}
        if self.channel_names:
            content["empty"] = dict(zip(self.channel_names, empty, strict=True))
        write_json(self.output_dir / "scores.json", content)
        for name, mean in summary.items():
            _log.info("%-24s %s", name, f"{mean['mean']:.4f}  ({mean['cases']} cases)" if mean["cases"] else "-")
        _log.info("scores of %d cases of the %s split: %s", len(rows), self.split, self.output_dir / "scores.csv")

    def _columns(self, engine: Evaluator) -> dict[str, list[float]]:
        """Per-case scores by column; a metric of several channels gives a column a channel."""
        columns: dict[str, list[float]] = {}
        for name, details in engine.state.metric_details.items():
            scores = details.flatten(1).T.tolist()
            columns |= dict(zip(self._names(name, len(scores)), scores, strict=True))
        return columns

    def _names(self, metric: str, channels: int) -> list[str]:
        if channels == 1 and not self.channel_names:
            return [metric]
        return [f"{metric}_{name}" for name in self.channel_names or range(channels)]

    def _find_empty(self, label: torch.Tensor, case: str) -> torch.Tensor:
        """Return 1 for every channel of a label (C, *spatial) that is empty, else 0."""
        if len(label) != len(self.channel_names):
            raise UserError(
                f"channel_names: {list(self.channel_names)}, but the label of {case} has {len(label)} channels."
            )
        return torch.tensor([int(not channel.any()) for channel in convert_to_tensor(label)])


def _mean(scores: list[float]) -> dict[str, float | int | None]:
    scored = [score for score in scores if not math.isnan(score)]
    return {"mean": sum(scored) / len(scored) if scored else None, "cases": len(scored)}
