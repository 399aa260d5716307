"""Several processes of one command, started by ``torchrun`` on one machine or more."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pu_unet_monai.errors import UserError

__all__ = ["Processes", "join_processes"]

T = TypeVar("T")

_LONGEST_SHARE = datetime.timedelta(days=30)
"""How long a process may wait for the others' shares; one that has died is noticed at once, by its connection."""


def join_processes(backend: str) -> None:
    """Join the other processes of a training.

    Args:
        backend: ``"nccl"`` (a GPU for each process) or ``"gloo"``.

    Raises:
        UserError: if ``torchrun`` did not start this process.
    """
    if "RANK" not in os.environ:
        raise UserError(
            "multi_gpu_train.json: start it by torchrun (torchrun --standalone --nproc_per_node=2 -m monai.bundle run "
            "...), or leave it out of config_file for one process."
        )
    _connect(backend)


def _connect(backend: str) -> None:
    """Join the others; on one machine by its loopback, as whoever reaches a process' port could disturb it.

    PyTorch would listen where the machine's name leads, which may be an address that others reach. The port of
    ``torchrun`` itself is not ours to bind (SECURITY.md).
    """
    if sys.platform == "linux" and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    dist.init_process_group(backend)


class Processes:
    """The processes that ``torchrun`` started for a command that shares out its cases, or this one alone.

    All of them connect here, so make it before anything that can fail.
    """

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ["RANK"]) if self.count > 1 else 0
        if self.count > 1:
            _connect("gloo")
            self._group = dist.new_group(timeout=_LONGEST_SHARE)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports."""
        return self.rank == 0

    def default_device(self) -> str | None:
        """Return the GPU of this process, or None if the processes need not be told apart."""
        if self.count == 1 or not torch.cuda.is_available():
            return None
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"

    def agree(self, value: T) -> T:
        """Return the first process's value to all, so that they share out the same cases.

        Raises:
            UserError: if another process has ended before.
        """
        box = [value]
        if self.count > 1:
            with _others_alive():
                dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def share(self, cases: Mapping[str, T]) -> dict[str, T]:
        """Return the cases of this process: every ``count``-th, beginning with the ``rank``-th."""
        return dict(itertools.islice(cases.items(), self.rank, None, self.count))

    def gather(self, mine: T) -> list[T]:
        """Wait for all processes, and return to the first what each of them gives, and to the others nothing.

        It is the last thing that the processes do together.

        Raises:
            UserError: if another process has ended before.
        """
        if self.count == 1:
            return [mine]
        everyone: list[Any] = [None] * self.count
        with _others_alive():
            dist.gather_object(mine, everyone if self.is_first else None, group=self._group)
        dist.destroy_process_group()
        return everyone if self.is_first else []


@contextlib.contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what PyTorch makes of a connection that broke
        raise UserError(
            "another process ended before it was done, see its own message; the files written so far are whole, but "
            "no report names them: run the command again."
        ) from error
