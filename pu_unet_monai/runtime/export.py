"""Export of a network as a graph that takes any batch and any spatial size."""

from __future__ import annotations

import re

import torch
import torch.fx.experimental._config as symbolic_shapes_config
from monai.networks.utils import eval_mode
from torch import nn
from torch.export import Dim, ExportedProgram, export

from pu_unet_monai.errors import UserError

__all__ = ["export_program"]

_SMALLEST_EXAMPLE = 17
_NOT_ONE = re.compile(r"expression Ne\(.*, 1\) on node")


def export_program(network: nn.Module, example: torch.Tensor) -> ExportedProgram:
    """Export a network with :mod:`torch.export`, in evaluation mode, with dynamic batch and spatial sizes.

    The program takes every batch and spatial size that the network takes. Padding to a multiple and cropping back
    needs one switch that PyTorch keeps private (``backed_size_oblivious``: no assumption that a size is not 0 or 1),
    set here and nowhere else.

    Args:
        network: the network to export; its training mode is left as it was.
        example: an input (B, C, *spatial) on the network's device, more than 16 on each spatial axis: from smaller
            ones the exporter may infer relations that hold for them alone.

    Raises:
        UserError: if a spatial axis of ``example`` is 16 or less.
    """
    if example.dim() < 3 or min(example.shape[2:]) < _SMALLEST_EXAMPLE:
        raise UserError(
            f"the example input has shape {list(example.shape)}: (batch, channels, *spatial) with at least "
            f"{_SMALLEST_EXAMPLE} on each spatial axis is needed to export with dynamic sizes."
        )
    if example.shape[0] == 1:
        example = torch.cat([example, example])
    dynamic = {axis: Dim.AUTO for axis in range(example.dim()) if axis != 1}
    switch = symbolic_shapes_config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with eval_mode(network), switch:
        program = export(
            network, (example,), dynamic_shapes=(dynamic,), prefer_deferred_runtime_asserts_over_guards=True
        )
    _remove_layout_assertions(program)
    return program


def _remove_layout_assertions(program: ExportedProgram) -> None:
    """Let sizes be 1: the exporter asserts that they are not, for the sake of a memory layout that nothing reads.

    While it traces a 3D convolution, PyTorch asks whether the output is contiguous, and keeps the answer for the
    example as the assertion "this product of sizes is not 1": on the size of the lowest resolution, and on the batch
    size where the network has one output channel. What the operators compute does not depend on the layout.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default and _NOT_ONE.search(str(node.args[1])):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
