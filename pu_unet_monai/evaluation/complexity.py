"""What a network costs: parameters, multiply-adds, memory and time of a training step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count
from tqdm import tqdm

from pu_unet_monai.networks.blocks import ProductUnit, ResidualBlock
from pu_unet_monai.runtime.dry_run import dry_run
from pu_unet_monai.runtime.precision import training_dtype

__all__ = ["count_macs", "count_paper_flops", "count_parameters", "count_training_bytes", "time_alternately"]

_COPIES_OF_THE_WEIGHTS = 3
"""The weights themselves and the two moments of Adam; gradients are counted in the step."""


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_macs(network: nn.Module, input_size: Sequence[int]) -> int:
    """Return the multiply-adds of one forward pass: half of what ``torch.utils.flop_counter`` counts.

    Convolutions, transposed ones too, matrix products and attention count; norms, activations and product units'
    logarithms do not. The PU-UNet paper counts otherwise, see :func:`count_paper_flops`.

    Args:
        network: the network; it stays as it is.
        input_size: size of the input, (B, C, *spatial).
    """
    on_meta = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_meta(torch.empty(*input_size, device="meta"))
    return counter.get_total_flops() // 2


def count_paper_flops(network: nn.Module, input_size: Sequence[int]) -> int:
    """Return the floating-point operations of one forward pass as Li et al., "PU-UNet" (2026), table 1, count them.

    Two for each multiply-add of a convolution, none for the transposed ones; one for each element that a residual
    block adds, and one for each that a product unit's bias is added to. The paper does not say so: it is what gives
    its numbers, 66.725 G and 66.727 G at 352x352 pixels exactly, and 35.292 G and 35.293 G at 256x256, where it has
    35.292 G and 35.294 G.

    Args:
        network: a PU-UNet, its baseline, or another network of their blocks; it stays as it is.
        input_size: size of the input, (B, C, *spatial).
    """
    on_meta = copy.deepcopy(network).to("meta").eval()
    additions: list[int] = []

    def count_elements(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        additions.append(output.numel())

    for module in on_meta.modules():
        if isinstance(module, ResidualBlock) or (isinstance(module, ProductUnit) and module.conv.bias is not None):
            module.register_forward_hook(count_elements)
    formulas = {torch.ops.aten.convolution: _flops_unless_transposed}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        on_meta(torch.empty(*input_size, device="meta"))
    return counter.get_total_flops() + sum(additions)


def _flops_unless_transposed(
    image: list[int],
    weight: list[int],
    bias: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    *_: Any,
    out_shape: list[int],
) -> int:
    return 0 if transposed else conv_flop_count(image, weight, out_shape)


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
