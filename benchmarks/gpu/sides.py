"""What is timed: inference in several ways, training steps; and how it is timed and its memory measured."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.conditions import Conditions, NotHereError, Row, Workload, attempt, release_memory
from benchmarks.measure import alternate_here, ratio
from pu_unet_monai.losses import BCEFocalTverskyLoss

__all__ = [
    "PRECISIONS",
    "GraphedInference",
    "Side",
    "TrainingStep",
    "add_times",
    "autocast",
    "compiled",
    "infer",
    "peak_bytes",
    "ratio_of",
    "synchronize",
    "tf32",
    "time_sides",
]

Side = Callable[[], Any]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

FEWEST_ROUNDS = 31
_MOST_ROUNDS = 101
_SECONDS = 1.5
"""What is quick is repeated for so long."""


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context of a precision; float32 is none."""
    low = precision != "float32"
    return torch.autocast(device.type, PRECISIONS[precision] if low else None, enabled=low)


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Switch TF32 by the older pair of switches: the compiler reads them, and refuses a mixture with the newer."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@torch.no_grad()
def infer(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, precision: str) -> torch.Tensor:
    """Run a network without a graph of gradients."""
    with autocast(image.device, precision):
        return network(image)


def compiled(conditions: Conditions, network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Compile a network for one size, whole or not at all; a quick run has it traced and not compiled."""
    backend = "eager" if conditions.quick else "inductor"
    return torch.compile(network, dynamic=False, fullgraph=True, backend=backend)


class GraphedInference:
    """A network's inference recorded as a CUDA graph, which one launch replays.

    Args:
        network: the network.
        image: an image of the size to record.
        precision: one of :data:`PRECISIONS`.

    Raises:
        NotHereError: on another device than CUDA.
    """

    def __init__(self, network: nn.Module, image: torch.Tensor, precision: str) -> None:
        if image.device.type != "cuda":
            raise NotHereError("a CUDA graph needs CUDA")
        self._image = image.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up before a recording
            for _ in range(3):
                infer(network, self._image, precision)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = infer(network, self._image, precision)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits of an image, in memory that the next call writes to."""
        self._image.copy_(image)
        self._graph.replay()
        return self._logits


class TrainingStep:
    """A training step with the bundles' objective, optimiser and clipping, on images that are on the device already.

    Args:
        work: the images.
        network: the network.
        device: the device.
        precision: one of :data:`PRECISIONS`; float16 with scaled losses.
        run: how the network is run. Defaults to None, as it is.
    """

    def __init__(
        self,
        work: Workload,
        network: nn.Module,
        device: torch.device,
        precision: str,
        run: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.network = network.train()
        self.run = network if run is None else run
        self.image, self.label = work.image(device), work.label(device)
        self.precision = precision
        self.loss = BCEFocalTverskyLoss()
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4, weight_decay=1e-4)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def __call__(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.image.device, self.precision):
            loss = self.loss(self.run(self.image), self.label)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()


def synchronize() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_sides(
    conditions: Conditions, sides: Mapping[str, Side], fewest_rounds: int = FEWEST_ROUNDS
) -> dict[str, Sequence[float]]:
    """Time sides in turns, after some unmeasured ones.

    Args:
        conditions: the conditions.
        sides: what to time, by name.
        fewest_rounds: how often at least; what is quick is timed more often.

    Returns:
        Seconds of every run, by side.
    """
    rounds = 2 if conditions.quick else _choose_rounds(sides, fewest_rounds)
    times = alternate_here(sides, rounds)
    return {name: [round(seconds, 7) for seconds in clocks["wall"]] for name, clocks in times.items()}


def _choose_rounds(sides: Mapping[str, Side], fewest: int) -> int:
    for side in sides.values():
        side()
    synchronize()
    started = time.perf_counter()
    for side in sides.values():
        side()
    synchronize()
    return min(max(int(_SECONDS / (time.perf_counter() - started)), fewest), _MOST_ROUNDS)


def ratio_of(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Compare times pair by pair, first / second, with the 95 % interval, for JSON."""
    return {key: round(value, 4) for key, value in ratio(first, second)._asdict().items()}


def add_times(
    conditions: Conditions, rows: Mapping[str, Row], sides: Mapping[str, Side], key: str, fewest_rounds: int
) -> None:
    """Time sides in turns and add the times to their rows, or to all of them why there are none.

    Args:
        conditions: the conditions.
        rows: the rows, by side.
        sides: what to time, by name.
        key: under which the times go into the rows.
        fewest_rounds: how often at least.
    """
    if not sides:
        return
    found = attempt(conditions, {}, functools.partial(time_sides, conditions, sides, fewest_rounds))
    for name in sides:
        rows[name].update({key: found[name]} if name in found else {k: found[k] for k in found if k != "took_seconds"})


def peak_bytes(conditions: Conditions, make: Callable[[], Side]) -> int | None:
    """Return the most bytes that were allocated at once in a call, without what was allocated before it was made.

    The first call, at which libraries and the optimiser allocate what they keep, is not looked at.

    Args:
        conditions: the conditions.
        make: makes what is called.

    Returns:
        The bytes; None on a CPU, where PyTorch does not count them.
    """
    if conditions.device.type != "cuda":
        return None
    release_memory()
    before = torch.cuda.memory_allocated()
    side = make()
    side()
    synchronize()
    torch.cuda.reset_peak_memory_stats()
    side()
    synchronize()
    return torch.cuda.max_memory_allocated() - before
