"""Handlers that harm their own training, for the tests of resuming and of errors."""

from __future__ import annotations

import os
import signal

import torch
from ignite.engine import Engine, Events


class KillAt:
    """Send SIGKILL to this process at an iteration: nothing is cleaned up, as in a power cut."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=self.iteration), self)

    def __call__(self, engine: Engine) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class PoisonAt(KillAt):
    """Set a weight to NaN at an iteration, as a diverging training would."""

    def __call__(self, engine: Engine) -> None:
        with torch.no_grad():
            next(iter(engine.network.parameters())).fill_(torch.nan)


class KillRank:
    """A transform that sends SIGKILL to one of the processes that ``torchrun`` started."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def __call__(self, data: dict) -> dict:
        if os.environ["RANK"] == str(self.rank):
            os.kill(os.getpid(), signal.SIGKILL)
        return data
