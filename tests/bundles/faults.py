"""Handlers that harm their own training, for the tests of resuming and of errors."""

from __future__ import annotations

import io
import os
import signal
from typing import BinaryIO

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


class KillInWrite:
    """Send SIGKILL to this process when 1,000 bytes of a file of weights or a checkpoint are written.

    Args:
        number: of the files that are written, from 1 on.
    """

    def __init__(self, number: int) -> None:
        self.left = number

    def attach(self, engine: Engine) -> None:
        self.save, torch.save = torch.save, self

    def __call__(self, content: object, file: BinaryIO) -> None:
        self.left -= 1
        if self.left:
            self.save(content, file)
            return
        whole = io.BytesIO()
        self.save(content, whole)
        file.write(whole.getvalue()[:1000])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


class KillWorker:
    """A transform that sends SIGKILL to the process of a data loader's worker that it runs in."""

    def __call__(self, data: dict) -> dict:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return data


class KillRank:
    """A transform that sends SIGKILL to one of the processes that ``torchrun`` started."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def __call__(self, data: dict) -> dict:
        if os.environ["RANK"] == str(self.rank):
            os.kill(os.getpid(), signal.SIGKILL)
        return data
