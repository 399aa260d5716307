"""Ways to run one network, against eager float32."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.conditions import Conditions, Row, Workload, attempt, forget_compiled, workload
from benchmarks.gpu.numerics import relative_difference
from benchmarks.gpu.sides import FEWEST_ROUNDS, GraphedInference, Side, add_times, compiled, infer, ratio_of

__all__ = ["measure"]

_REFERENCE = ("eager", "float32")
_EAGER = (_REFERENCE, ("eager", "bfloat16"))
_SOON = (*_EAGER, ("CUDA graph", "float32"), ("CUDA graph", "bfloat16"), ("RuntimeInferer eager", "bfloat16"))
_LATE = (*_EAGER, ("compile", "float32"), ("compile", "bfloat16"))
_LAST = (*_EAGER, ("RuntimeInferer compile", "bfloat16"))


def measure(conditions: Conditions) -> Iterator[Row]:
    """Measure in 2D and in 3D; what has to be compiled comes last, what RuntimeInferer compiles for any size behind."""
    flat, solid = workload(conditions, 2, 256), workload(conditions, 3, 128)
    yield from _measure(conditions, flat, _SOON)
    yield from _measure(conditions, solid, _SOON)
    if not conditions.quick:  # the compiler is tried once, by the numerics
        yield from _measure(conditions, flat, _LATE)
        yield from _measure(conditions, solid, (_REFERENCE, ("compile", "bfloat16")))
        yield from _measure(conditions, flat, _LAST)


def _measure(conditions: Conditions, work: Workload, ways: Sequence[tuple[str, str]]) -> Iterator[Row]:
    forget_compiled()
    network, image = work.pu_unet(conditions.device), work.image(conditions.device)
    rows: dict[str, Row] = {}
    sides: dict[str, Side] = {}
    for way, precision in ways:
        name = f"{way}, {precision}"
        row: Row = {"workload": str(work), "way": way, "precision": precision}
        make = functools.partial(_WAYS[way], conditions, network, image, precision)
        rows[name] = attempt(conditions, row, _begin, sides, name, make, network, image)
    add_times(conditions, rows, sides, "seconds", FEWEST_ROUNDS)
    reference = rows[", ".join(_REFERENCE)].get("seconds")
    for found in rows.values():
        if "seconds" in found:
            found["median"] = statistics.median(found["seconds"])
            found["times_faster"] = ratio_of(reference, found["seconds"]) if reference else None
    yield from rows.values()


def _begin(
    sides: dict[str, Side], name: str, make: Callable[[], Side], network: nn.Module, image: torch.Tensor
) -> dict[str, Any]:
    """Start a side, compare its logits with eager float32, and count it among the sides."""
    side = make()
    logits = side().float()
    difference = relative_difference({"logits": logits}, {"logits": infer(network, image, "float32")})
    sides[name] = side
    return {"difference": difference}


def _eager(conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str) -> Side:
    return functools.partial(infer, network, image, precision)


def _graph(conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str) -> Side:
    return functools.partial(GraphedInference(network, image, precision), image)


def _compile(conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str) -> Side:
    return functools.partial(infer, compiled(conditions, network), image, precision)


def _inferer(runtime: str, conditions: Conditions, network: nn.Module, image: torch.Tensor, precision: str) -> Side:
    from pu_unet_monai.inferers import RuntimeInferer  # which needs nibabel, and the other ways do not

    inferer = RuntimeInferer(runtime=runtime, precision=precision)
    inferer(image, network)
    last = inferer.last or {}
    if (last.get("runtime"), last.get("precision")) != (runtime, precision):
        raise RuntimeError(f"RuntimeInferer chose {last.get('runtime')} in {last.get('precision')} instead")
    return functools.partial(inferer, image, network)


_WAYS: dict[str, Callable[[Conditions, nn.Module, torch.Tensor, str], Side]] = {
    "eager": _eager,
    "CUDA graph": _graph,
    "compile": _compile,
    "RuntimeInferer eager": functools.partial(_inferer, "eager"),
    "RuntimeInferer compile": functools.partial(_inferer, "compile"),
}
