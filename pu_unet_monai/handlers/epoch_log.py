"""A line and a table row for every epoch of a training."""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from statistics import fmean

import ignite.distributed as idist
from ignite.engine import Events
from monai.engines import Evaluator, SupervisedTrainer
from monai.handlers import from_engine
from monai.utils import CommonKeys

from pu_unet_monai.errors import NonFiniteLossError
from pu_unet_monai.evaluation.pictures import draw_curves
from pu_unet_monai.files import read_csv, write_csv

__all__ = ["EpochLog"]

_log = logging.getLogger(__name__)
_DIAGNOSTICS = ("gradient_norm", "gradient_norm_max", "non_finite_gradients", "clipped_share")
_get_loss = from_engine(CommonKeys.LOSS, first=True)


class EpochLog:
    """Ignite handler that logs loss, gradients, learning rate and validation scores after every epoch.

    Of the gradients and product units it is what :class:`~pu_unet_monai.handlers.GradientClipping` and
    :class:`~pu_unet_monai.handlers.ProductUnitMonitor` found, where they are listed.

    Each epoch is a line of the log and a row of ``epochs.csv``, also the one in which the loss stopped being a number;
    a resumed training replaces the rows from its first epoch on. At the end ``epochs.png`` shows the curves. List it
    after the validation.

    Args:
        output_dir: folder of the two files.
        evaluator: the validation engine, with a key metric.
    """

    def __init__(self, output_dir: str | os.PathLike[str], evaluator: Evaluator) -> None:
        self.path = Path(output_dir) / "epochs.csv"
        self.evaluator = evaluator

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.stop)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def start(self, engine: SupervisedTrainer) -> None:
        """Begin an epoch."""
        self._started = time.monotonic()
        self._losses: list[float] = []

    def add(self, engine: SupervisedTrainer) -> None:
        """Note the loss of an iteration."""
        self._losses.append(float(_get_loss(engine.state.output)))

    def stop(self, engine: SupervisedTrainer, error: BaseException) -> None:
        """Log the epoch that ended with a loss or weights that are no numbers, and pass the error on."""
        if isinstance(error, NonFiniteLossError):
            self.write(engine)
        raise error

    def write(self, engine: SupervisedTrainer) -> None:
        """Log the epoch."""
        if idist.get_rank() != 0:
            return
        epoch = engine.state.epoch
        row: dict[str, float] = {
            "epoch": epoch,
            "seconds": round(time.monotonic() - self._started, 2),
            "loss": fmean(self._losses) if self._losses else math.nan,
            **{key: getattr(engine.state, key) for key in _DIAGNOSTICS if hasattr(engine.state, key)},
            "learning_rate": engine.optimizer.param_groups[0]["lr"],
        }
        if self.evaluator.state.epoch == epoch:
            row |= self.evaluator.state.metrics
        shown = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch" and math.isfinite(value))
        state = self.evaluator.state
        validated = state.best_metric_epoch > 0
        best = f", best {state.key_metric_name} {state.best_metric:.4f} (epoch {state.best_metric_epoch})"
        _log.info("epoch %d/%d: %s%s", epoch, engine.state.max_epochs, shown, best if validated else "")
        self._add_row(row)

    def draw(self, engine: SupervisedTrainer) -> None:
        """Draw the curves of all epochs."""
        if idist.get_rank() == 0:
            draw_curves(self._rows(), self.path.with_suffix(".png"), self.evaluator.state.key_metric_name)

    def _rows(self) -> list[dict]:
        return read_csv(self.path) if self.path.is_file() else []

    def _add_row(self, row: dict[str, float]) -> None:
        rows = [old for old in self._rows() if int(old["epoch"]) < row["epoch"]]
        write_csv(self.path, [*rows, row])
