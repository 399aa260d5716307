"""A handler that writes down what each process of a training did."""

from __future__ import annotations

from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from pu_unet_monai.runtime.weights import unwrap


class Recorder:
    """Write ``rank<N>.pt`` at the end: the loss of every iteration, and the weights."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def note(self, engine: Engine) -> None:
        self.losses.append(engine.state.output[0]["loss"])

    def write(self, engine: Engine) -> None:
        record = {"losses": self.losses, "weights": unwrap(engine.network).state_dict()}
        torch.save(record, self.folder / f"rank{idist.get_rank()}.pt")
