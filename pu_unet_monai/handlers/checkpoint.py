"""Checkpoints of a training: written whole or not at all, resumed exactly."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Evaluator, SupervisedTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import atomic_path
from pu_unet_monai.runtime.weights import load_weights, read_checkpoint

__all__ = ["TrainingCheckpoint"]

_log = logging.getLogger(__name__)


class TrainingCheckpoint:
    """Ignite handler that saves, resumes and starts a training of MONAI's ``SupervisedTrainer``.

    After every epoch it writes ``checkpoint_epoch=N.pt`` with ``{network, optimizer, lr_scheduler, scaler,
    trainer}`` (``trainer``: epoch, iteration, best metric, state of PyTorch's random numbers), and after every
    validation with a new best key metric ``model.pt``, a pure state dict. Files are written under a temporary name
    and renamed. List it last, after the validation and the learning rate, whose state it saves.

    With ``resume`` it continues from the newest readable checkpoint, and with :class:`ReproducibleDataset` and
    :class:`EpochSampler` bit for bit as if never stopped (on a CPU). Without, files of an earlier training are
    moved to ``previous/`` inside ``save_dir``, so that neither can be taken for the other's.

    Args:
        save_dir: folder of the checkpoints.
        network: the network that is trained.
        optimizer: its optimiser.
        lr_scheduler: its learning-rate schedule.
        evaluator: the validation engine, with a key metric.
        resume: whether to continue an earlier training. Defaults to False.
        pretrained: weights to start from when not resuming (fine-tuning). Defaults to None.
        n_saved: number of the newest checkpoints to keep; with 2, a damaged one costs an epoch. Defaults to 2.
    """

    best_name = "model.pt"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        network: nn.Module,
        optimizer: Optimizer,
        lr_scheduler: LRScheduler,
        evaluator: Evaluator,
        resume: bool = False,
        pretrained: str | os.PathLike[str] | None = None,
        n_saved: int = 2,
    ) -> None:
        self.save_dir = Path(save_dir)
        self.network = network.module if isinstance(network, DistributedDataParallel) else network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.evaluator = evaluator
        self.resume = resume
        self.pretrained = pretrained
        self.n_saved = n_saved

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on the trainer, and on the evaluator for the best weights."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        self.evaluator.add_event_handler(Events.COMPLETED, self.save_if_best)

    def start(self, engine: SupervisedTrainer) -> None:
        """Resume, or start from pretrained or fresh weights.

        Raises:
            UserError: if checkpoints exist but none can be read, or the pretrained weights do not fit.
        """
        if idist.get_rank() == 0:
            self._remove_leftovers()
        checkpoint = self._newest_checkpoint() if self.resume else None
        if checkpoint is not None:
            self._restore(engine, checkpoint)
            return
        if self.resume:
            _log.info("resume: no checkpoint in %s, starting from the beginning", self.save_dir)
        if self.pretrained:
            load_weights(self.network, self.pretrained)
        if idist.get_rank() == 0:
            self._set_aside_earlier_training()

    def save(self, engine: SupervisedTrainer) -> None:
        """Write the checkpoint of this epoch and remove those that are no longer needed."""
        if idist.get_rank() != 0:
            return
        self._write(self._state(engine), f"checkpoint_epoch={engine.state.epoch}.pt")
        for path in self._checkpoints()[self.n_saved :]:
            path.unlink()

    def save_if_best(self, evaluator: Evaluator) -> None:
        """Write the weights if the validation that just ended was the best so far."""
        if idist.get_rank() == 0 and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self._write(self.network.state_dict(), self.best_name)

    def _write(self, content: Any, name: str) -> None:
        with atomic_path(self.save_dir / name) as path:
            torch.save(content, path)

    def _state(self, engine: SupervisedTrainer) -> dict[str, Any]:
        scaler = engine.scaler
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "trainer": {
                "epoch": engine.state.epoch,
                "iteration": engine.state.iteration,
                "best_metric": self.evaluator.state.best_metric,
                "best_metric_epoch": self.evaluator.state.best_metric_epoch,
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
        }

    def _restore(self, engine: SupervisedTrainer, checkpoint: dict[str, Any]) -> None:
        self.network.load_state_dict(checkpoint["network"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self._restore_lr_scheduler(checkpoint["lr_scheduler"])
        scaler = engine.scaler
        if scaler is not None and checkpoint["scaler"]:
            scaler.load_state_dict(checkpoint["scaler"])
        trainer = checkpoint["trainer"]
        engine.state.epoch = trainer["epoch"]
        # counted by this run's epochs, as the length of an epoch changes with the number of processes
        engine.state.iteration = trainer["epoch"] * engine.state.epoch_length
        self.evaluator.state.best_metric = trainer["best_metric"]
        self.evaluator.state.best_metric_epoch = trainer["best_metric_epoch"]
        torch.set_rng_state(trainer["rng"])
        if torch.cuda.is_available() and len(trainer["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(trainer["cuda_rng"])
        _log.info("resumed after epoch %d of %d", engine.state.epoch, engine.state.max_epochs)

    def _restore_lr_scheduler(self, state: dict[str, Any]) -> None:
        """Restore where the schedule stands, but let the configuration say how long it is."""
        length = {key: value for key, value in self.lr_scheduler.state_dict().items() if key in ("t_total", "T_max")}
        self.lr_scheduler.load_state_dict({**state, **length})

    def _checkpoints(self) -> list[Path]:
        """All checkpoints, newest first."""
        epochs = {}
        for path in self.save_dir.glob("checkpoint_epoch=*.pt"):
            if match := re.fullmatch(r"checkpoint_epoch=(\d+)\.pt", path.name):
                epochs[path] = int(match[1])
        return sorted(epochs, key=lambda path: epochs[path], reverse=True)

    def _newest_checkpoint(self) -> dict[str, Any] | None:
        paths = self._checkpoints()
        for path in paths:
            try:
                checkpoint = read_checkpoint(path)
            except UserError as error:
                _log.warning("%s; trying the checkpoint before it", error)
            else:
                return checkpoint
        if paths:
            raise UserError(
                f"{self.save_dir}: none of the {len(paths)} checkpoints can be read; start anew with --resume False, "
                "or put a good checkpoint there."
            )
        return None

    def _remove_leftovers(self) -> None:
        """Remove temporary files that a killed training could not rename any more."""
        for path in self.save_dir.glob(".*.pt"):
            path.unlink()

    def _set_aside_earlier_training(self) -> None:
        earlier = [*self._checkpoints(), self.save_dir / self.best_name]
        earlier = [path for path in earlier if path.is_file()]
        if not earlier:
            return
        aside = self.save_dir / "previous"
        aside.mkdir(exist_ok=True)
        for path in aside.glob("*.pt"):
            path.unlink()
        for path in earlier:
            path.rename(aside / path.name)
        _log.info("moved %d files of an earlier training to %s", len(earlier), aside)
