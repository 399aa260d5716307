"""Export of a network as a graph that takes any batch and any spatial size."""

from __future__ import annotations

import torch
import torch.fx.experimental._config as symbolic_shapes_config
from monai.networks.utils import eval_mode
from torch import nn
from torch.export import Dim, ExportedProgram, export

from pu_unet_monai.errors import UserError

__all__ = ["export_program"]

_SMALLEST_EXAMPLE = 17


def export_program(network: nn.Module, example: torch.Tensor) -> ExportedProgram:
    """Export a network with :mod:`torch.export`, in evaluation mode, with dynamic batch and spatial sizes.

    The program takes every batch and spatial size that the network takes, with one known exception: a 3D input so
    small that a network's lowest resolution is a single voxel (for PU-UNet with its default widths: no axis larger
    than 16) is refused.
    Padding to a multiple and cropping back needs one switch that PyTorch keeps private
    (``backed_size_oblivious``: no assumption that a size is not 0 or 1), set here and nowhere else.

    Args:
        network: the network to export; its training mode is left as it was.
        example: an input (B, C, *spatial) on the network's device, more than 16 on each spatial axis: from smaller
            ones the exporter infers sizes that then stay fixed.

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
    with eval_mode(network), symbolic_shapes_config.patch(backed_size_oblivious=True):
        return export(network, (example,), dynamic_shapes=(dynamic,), prefer_deferred_runtime_asserts_over_guards=True)
