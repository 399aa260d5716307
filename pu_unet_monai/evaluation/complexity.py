"""What a network costs: parameters, multiply-adds, memory and time of a training step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from pu_unet_monai.runtime.dry_run import dry_run
from pu_unet_monai.runtime.precision import training_dtype

__all__ = ["count_macs", "count_parameters", "count_training_bytes", "time_alternately"]

_COPIES_OF_THE_WEIGHTS = 3
"""The weights themselves and the two moments of Adam; gradients are counted in the step."""


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_macs(network: nn.Module, input_size: Sequence[int]) -> int:
    """Return the multiply-adds of one forward pass: half of what ``torch.utils.flop_counter`` counts.

    Convolutions, transposed ones too, matrix products and attention count; norms, activations and product units'
    logarithms do not. (The PU-UNet paper's FLOPs are twice the multiply-adds, without transposed convolutions.)

    Args:
        network: the network; it stays as it is.
        input_size: size of the input, (B, C, *spatial).
    """
    on_meta = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_meta(torch.empty(*input_size, device="meta"))
    return counter.get_total_flops() // 2


def count_training_bytes(network: nn.Module, input_size: Sequence[int], device: torch.device, amp: bool) -> int:
    """Return the bytes of all tensors at the worst moment of a training step with Adam, counted without running it.

    A CUDA context and the workspaces of its libraries take some 0.5 to 1 GB more.

    Args:
        network: the network, in training mode; it stays as it is.
        input_size: size of the input, (B, C, *spatial).
        device: where the training would run.
        amp: whether it would run in low precision, where the device is good at that.
    """
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    step = dry_run(network, input_size, device.type, training_dtype(device, amp), backward=True).peak_bytes
    return step + _COPIES_OF_THE_WEIGHTS * weights


def time_alternately(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time several programs in turn (A B A B ...), since a machine's speed drifts.

    Args:
        steps: what to time, by name.
        rounds: how often each is timed, after one unmeasured round.

    Returns:
        The seconds of each, in the order of the rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in tqdm(range(rounds + 1), desc="timing", unit="round", disable=None):
        for name, step in steps.items():
            _synchronize()
            started = time.perf_counter()
            step()
            _synchronize()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
