"""A handler that kills its own training, for the tests of resuming."""

from __future__ import annotations

import os
import signal

from ignite.engine import Engine, Events


class KillAt:
    """Send SIGKILL to this process at an iteration: nothing is cleaned up, as in a power cut."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=self.iteration), self)

    def __call__(self, engine: Engine) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
