"""Checkpoints of a training: written whole or not at all, resumed exactly."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from filelock import FileLock, Timeout
from ignite.engine import Events
from monai.engines import Evaluator, SupervisedTrainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pu_unet_monai.errors import UserError, first_cause
from pu_unet_monai.files import atomic_path, make_folder
from pu_unet_monai.runtime.trained_with import read_facts, write_facts
from pu_unet_monai.runtime.weights import fill, load_weights, read_checkpoint, unwrap

__all__ = ["TrainingCheckpoint"]

_PARTS = {"network", "optimizer", "lr_scheduler", "scaler", "trainer"}

_log = logging.getLogger(__name__)


class TrainingCheckpoint:
    """Ignite handler that saves, resumes and starts a training of MONAI's ``SupervisedTrainer``.

    After every epoch it writes ``checkpoint_epoch=N.pt`` with ``{network, optimizer, lr_scheduler, scaler,
    trainer}`` (``trainer``: epoch, iteration, best metric, state of PyTorch's random numbers; and the network once more
    as ``model``, the name that MONAI Label looks for when an annotator picks a checkpoint), and after every
    validation with a new best key metric ``model.pt``, a pure state dict, and ``model.json`` with what inference has to
    know; where there is nothing to validate on, the newest weights are taken for the best. Files are written under a
    temporary name and renamed. List it last, after the validation and the learning rate, whose state it saves.

    With ``resume`` it continues from the newest readable checkpoint, and with :class:`ReproducibleDataset` and
    :class:`EpochSampler` bit for bit as if never stopped (on a CPU); ``max_epochs`` and ``learning_rate`` may be
    others then. Without, checkpoints of an earlier training are moved to ``previous-N/`` inside ``save_dir``, and its
    ``model.pt`` is copied there before the first validation replaces it. Nothing is ever deleted but the older
    checkpoints of the same training. A second training in the same folder is refused while one runs.

    Args:
        save_dir: folder of the checkpoints.
        network: the network that is trained.
        optimizer: its optimiser.
        lr_scheduler: its learning-rate schedule.
        evaluator: the validation engine, with a key metric.
        resume: whether to continue an earlier training. Defaults to False.
        pretrained: weights to start from when not resuming (fine-tuning). Defaults to None.
        n_saved: number of the newest checkpoints to keep; with 2, a damaged one costs an epoch. Defaults to 2.
        trained_with: what inference has to know of the training, such as ``image_size``, see
            :func:`~pu_unet_monai.runtime.trained_with.trained_with`. Defaults to nothing.
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
        trained_with: Mapping[str, Any] | None = None,
    ) -> None:
        self.save_dir = Path(save_dir)
        self.network = unwrap(network)
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.evaluator = evaluator
        self.resume = resume
        self.pretrained = pretrained
        self.n_saved = n_saved
        self.trained_with = dict(trained_with or {})
        self._begun = False
        self._lock = FileLock(self.save_dir / ".training.lock", is_singleton=True)

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on the trainer, and on the evaluator for the best weights."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.COMPLETED, self.release)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        self.evaluator.add_event_handler(Events.COMPLETED, self.save_if_best)

    def start(self, engine: SupervisedTrainer) -> None:
        """Resume, or start from pretrained or fresh weights; an engine that runs again just goes on.

        Raises:
            UserError: if another training runs in the folder, checkpoints exist but none can be read, or weights do
                not fit.
        """
        if idist.get_rank() == 0:
            self._lock_folder()
        if self._begun:
            return
        self._begun = True
        if idist.get_rank() == 0:
            self._remove_leftovers()
        newest = self._newest_checkpoint() if self.resume else None
        if newest is not None:
            self._restore(engine, *newest)
            return
        if self.resume:
            _log.info("resume: no checkpoint in %s, starting from the beginning", self.save_dir)
        if self.pretrained:
            load_weights(self.network, self.pretrained)
        if idist.get_rank() == 0:
            self._set_aside_earlier_training()

    def release(self, engine: SupervisedTrainer) -> None:
        """Let other programs train in the folder; one that ends in any other way does so too."""
        if not self._lock.is_locked:  # the first of several processes holds it, and may still be writing
            return
        with contextlib.suppress(OSError):  # of a file in use, where that cannot be removed
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def save(self, engine: SupervisedTrainer) -> None:
        """Write the checkpoint of this epoch and remove those that are no longer needed."""
        if idist.get_rank() != 0:
            return
        self._write(self._state(engine), f"checkpoint_epoch={engine.state.epoch}.pt")
        if not self.evaluator.state.epoch_length:
            self._write_best()
        for path in self._checkpoints()[self.n_saved :]:
            path.unlink()

    def save_if_best(self, evaluator: Evaluator) -> None:
        """Write the weights if the validation that just ended was the best so far."""
        scores = evaluator.state.metric_details[evaluator.state.key_metric_name]
        if torch.isnan(scores).all():
            raise UserError(
                "no validation image has a lesion, so that no Dice can choose the best weights; move some images with "
                "a lesion into the validation part of the datalist."
            )
        if idist.get_rank() == 0 and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self._write_best()

    def _lock_folder(self) -> None:
        make_folder(self.save_dir)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{self.save_dir}: another training is running in this folder; wait for it, or choose another ckpt_dir."
            ) from error

    def _write_best(self) -> None:
        self._write(self.network.state_dict(), self.best_name)
        if self.trained_with:
            write_facts(self.save_dir / self.best_name, self.trained_with)

    def _write(self, content: Any, name: str) -> None:
        with atomic_path(self.save_dir / name) as path, path.open("wb") as file:
            try:
                torch.save(content, file)  # into a path, the temporary name would be part of the bytes
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # a full disk, of which PyTorch says nothing
                    raise error.__context__ from error
                raise

    def _state(self, engine: SupervisedTrainer) -> dict[str, Any]:
        scaler = engine.scaler
        weights = self.network.state_dict()
        return {
            "network": weights,
            "model": weights,  # the same tensors, which take no room in the file twice
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

    def _restore(self, engine: SupervisedTrainer, checkpoint: Any, path: Path) -> None:
        missing = _PARTS - checkpoint.keys() if isinstance(checkpoint, dict) else _PARTS
        if missing:
            raise UserError(f"{path}: no checkpoint of a training, it lacks {', '.join(sorted(missing))}.")
        fill(self.network, checkpoint["network"], path)
        try:
            self._restore_state(engine, checkpoint)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: no checkpoint of this training ({first_cause(error)}); remove it to "
                "go on from the one before, or start anew with --resume False."
            ) from error
        self._complete_facts()
        _log.info("resumed after epoch %d of %d", engine.state.epoch, engine.state.max_epochs)
        if engine.state.epoch >= engine.state.max_epochs:
            _log.info("nothing left to train; raise max_epochs to go on")

    def _restore_state(self, engine: SupervisedTrainer, checkpoint: Mapping[str, Any]) -> None:
        """Restore all but the network."""
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self._restore_lr_scheduler(checkpoint["lr_scheduler"])
        scaler = engine.scaler
        if scaler is not None and checkpoint["scaler"]:
            scaler.load_state_dict(checkpoint["scaler"])
        trainer = checkpoint["trainer"]
        if not isinstance(trainer["epoch"], int) or trainer["epoch"] < 0:
            raise ValueError(f"epoch {trainer['epoch']!r}")
        engine.state.epoch = trainer["epoch"]
        # counted by this run's epochs, as the length of an epoch changes with the number of processes
        engine.state.iteration = trainer["epoch"] * engine.state.epoch_length
        self.evaluator.state.best_metric = trainer["best_metric"]
        self.evaluator.state.best_metric_epoch = trainer["best_metric_epoch"]
        torch.set_rng_state(trainer["rng"])
        if torch.cuda.is_available() and len(trainer["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(trainer["cuda_rng"])

    def _complete_facts(self) -> None:
        """Write the facts about the best weights that a training killed in between could not."""
        best = self.save_dir / self.best_name
        if idist.get_rank() == 0 and self.trained_with and best.is_file() and not read_facts(best):
            write_facts(best, self.trained_with)

    def _restore_lr_scheduler(self, state: dict[str, Any]) -> None:
        """Restore where the schedule stands, but let the configuration say how long it is and where it starts."""
        scheduler = self.lr_scheduler
        if not isinstance(scheduler, LambdaLR):
            scheduler.load_state_dict(state)
            return
        configured = {key: value for key, value in scheduler.state_dict().items() if key in ("t_total", "base_lrs")}
        scheduler.load_state_dict({**state, **configured})
        for group, base, rate in zip(self.optimizer.param_groups, scheduler.base_lrs, scheduler.get_lr(), strict=True):
            group["initial_lr"] = base
            group["lr"] = rate

    def _checkpoints(self) -> list[Path]:
        """All checkpoints, newest first."""
        epochs = {}
        for path in self.save_dir.glob("checkpoint_epoch=*.pt"):
            if match := re.fullmatch(r"checkpoint_epoch=(\d+)\.pt", path.name):
                epochs[path] = int(match[1])
        return sorted(epochs, key=lambda path: epochs[path], reverse=True)

    def _newest_checkpoint(self) -> tuple[dict[str, Any], Path] | None:
        paths = self._checkpoints()
        for path in paths:
            try:
                checkpoint = read_checkpoint(path)
            except UserError as error:
                _log.warning("%s; trying the checkpoint before it", error)
            else:
                return checkpoint, path
        if paths:
            raise UserError(
                f"{self.save_dir}: none of the {len(paths)} checkpoints can be read; start anew with --resume False, "
                "or put a good checkpoint there."
            )
        return None

    def _remove_leftovers(self) -> None:
        """Remove temporary files that a killed training could not rename any more."""
        for path in self.save_dir.glob(".*"):
            if re.fullmatch(r"\.\d+-(checkpoint_epoch=\d+\.pt|model\.(pt|json))", path.name):
                path.unlink()

    def _set_aside_earlier_training(self) -> None:
        checkpoints, best = self._checkpoints(), self.save_dir / self.best_name
        if not checkpoints and not best.is_file():
            return
        number = 1
        while (aside := self.save_dir / f"previous-{number}").exists():
            number += 1
        make_folder(aside)
        for path in checkpoints:
            path.rename(aside / path.name)
        for path in (best, best.with_suffix(".json")):
            if path.is_file():
                shutil.copy2(path, aside / path.name)
        _log.info("kept the weights and checkpoints of an earlier training in %s", aside)
