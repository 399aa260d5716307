"""Networks by name: those written here, and MONAI's behind the same contract."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch.nn as nn
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unet import UNet
from monai.networks.nets.unetr import UNETR
from monai.networks.nets.vnet import VNet
from monai.utils import ensure_tuple_rep

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.monai_networks import (
    DeepDynUNet,
    FixedSizeNetwork,
    MonaiNetwork,
    UNetPlusPlusNetwork,
    freeze,
)
from pu_unet_monai.networks.nets import OriginalUNet, PaddedUNet, PUUNet, R2UNet, SegNet, TransUNet, UNet3D
from pu_unet_monai.vector_math import settle_vector_math

__all__ = ["create_network", "find_network", "list_networks", "network_options"]

CHANNELS = (32, 64, 128, 256, 512)
INSTANCE = ("INSTANCE", {"affine": True})


def create_network(
    name: str,
    spatial_dims: int = 2,
    in_channels: int = 3,
    out_channels: int = 1,
    pad_to_multiple: bool = False,
    **options: Any,
) -> nn.Module:
    """Create a network by name.

    Every network takes (B, in_channels, *spatial) and returns logits (B, out_channels, *spatial). With
    ``deep_supervision=True`` (``unet_plus_plus``, ``dynunet``) it returns, in training mode, a list of such tensors
    with the main output first.

    Args:
        name: one of :func:`list_networks`.
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels. Defaults to 1.
        pad_to_multiple: whether a network of MONAI pads inputs whose size does not fit, by replication, and crops its
            output back; otherwise they are an error. Of the networks written here, ``original_unet`` then mirrors its
            input at the edges to keep the size, all others always pad. ``unetr`` takes sizes up to its ``img_size``
            then, and that size alone otherwise. Defaults to False.
        options: options of that network, see :func:`network_options`; others keep their defaults.

    Raises:
        UserError: if there is no such network or option, or the network does not take the option's value.

    Example:
        >>> network = create_network("unet", in_channels=3, out_channels=1, channels=(16, 32, 64))
        >>> network(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """
    settle_vector_math()  # before the threads that compute the network do
    builder = find_network(name)
    _check_names(name, options)
    if spatial_dims not in (2, 3):
        raise UserError(f"network {name}: spatial_dims must be 2 or 3, got {spatial_dims}.")
    for key, number in (("in_channels", in_channels), ("out_channels", out_channels)):
        if number < 1:
            raise UserError(f"network {name}: {key} must be at least 1, got {number}.")
    if "pad_to_multiple" in inspect.signature(builder).parameters:
        options["pad_to_multiple"] = pad_to_multiple
    try:
        return builder(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)
    except (AssertionError, IndexError, TypeError, ValueError) as error:  # as MONAI and PyTorch refuse options
        raise UserError(f"network {name}: {' '.join(str(error).split())}") from error


def list_networks() -> list[str]:
    """Return the names that :func:`create_network` knows."""
    return list(_BUILDERS)


def network_options(name: str) -> tuple[str, ...]:
    """Return the names of the options that a network takes, beside those that all take.

    Raises:
        UserError: if there is no such network.
    """
    return tuple(key for key in inspect.signature(find_network(name)).parameters if key not in _COMMON)


def find_network(name: str) -> Callable[..., nn.Module]:
    """Return the class or function that makes a network of that name.

    Raises:
        UserError: if there is no such network.
    """
    if name not in _BUILDERS:
        nearest = difflib.get_close_matches(name.lower().replace("-", "_"), _BUILDERS, n=3)
        hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        raise UserError(f"there is no network {name!r}: {hint}Known are {', '.join(_BUILDERS)}.")
    return _BUILDERS[name]


def _check_names(name: str, options: dict[str, Any]) -> None:
    known = network_options(name)
    unknown = []
    for key in options:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            unknown.append(f"{key} (did you mean {nearest[0]}?)" if nearest else key)
    if unknown:
        raise UserError(f"network {name} has no option {', '.join(unknown)}; its options are {', '.join(known)}.")


def _check_channels(channels: Sequence[int], at_least: int, at_most: int | None = None) -> tuple[int, ...]:
    is_sequence = isinstance(channels, Sequence) and not isinstance(channels, str)
    if not is_sequence or not all(isinstance(width, int) and width > 0 for width in channels):
        raise UserError(f"channels must be a list of positive whole numbers, got {channels!r}.")
    if not at_least <= len(channels) <= (at_most or len(channels)):
        number = at_least if at_least == at_most else f"at least {at_least}"
        raise UserError(f"channels must give a width for {number} resolutions, got {list(channels)}.")
    return tuple(channels)


def _ru_unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = CHANNELS,
    t: int = 2,
    separate_recurrent: bool = False,
    attention: bool = False,
    act: str | tuple = "RELU",
    norm: str | tuple = ("GROUP", {"num_groups": 8}),
    use_checkpoint: bool = False,
) -> nn.Module:
    """R2U-Net without the residual connections."""
    return R2UNet(
        spatial_dims,
        in_channels,
        out_channels,
        channels,
        t,
        separate_recurrent,
        residual=False,
        attention=attention,
        act=act,
        norm=norm,
        use_checkpoint=use_checkpoint,
    )


def _original_unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    channels: Sequence[int] = (64, 128, 256, 512, 1024),
    same_size: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """With ``pad_to_multiple`` it keeps the size, by mirroring as its authors do."""
    return OriginalUNet(spatial_dims, in_channels, out_channels, channels, same_size or pad_to_multiple, dropout)


def _is_instance(norm: str | tuple) -> bool:
    return (norm if isinstance(norm, str) else norm[0]).upper().startswith("INSTANCE")


def _replace_3d_dropout(network: nn.Module) -> None:
    """Drop channels of 2D images: MONAI's V-Net has 3D dropout there, whatever its ``dropout_dim``.

    That takes the batch axis for the channels, and drops whole images.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout3d):
                setattr(module, name, nn.Dropout2d(child.p))


def _residual_unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = CHANNELS,
    act: str | tuple = "SILU",
    norm: str | tuple = ("GROUP", {"num_groups": 8}),
    use_checkpoint: bool = False,
) -> nn.Module:
    """PU-UNet's matched baseline."""
    return PUUNet(
        spatial_dims,
        in_channels,
        out_channels,
        channels,
        placement="none",
        act=act,
        norm=norm,
        use_checkpoint=use_checkpoint,
    )


def _unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    channels: Sequence[int] = CHANNELS,
    num_res_units: int = 0,
    act: str | tuple = "PRELU",
    norm: str | tuple = "INSTANCE",
    dropout: float = 0.0,
) -> nn.Module:
    channels = _check_channels(channels, at_least=2)
    network = UNet(
        spatial_dims,
        in_channels,
        out_channels,
        channels,
        strides=[2] * (len(channels) - 1),
        num_res_units=num_res_units,
        act=act,
        norm=norm,
        dropout=dropout,
    )
    return MonaiNetwork(
        network, spatial_dims, in_channels, 2 ** (len(channels) - 1), pad_to_multiple, _is_instance(norm)
    )


def _attention_unet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    channels: Sequence[int] = CHANNELS,
    dropout: float = 0.0,
) -> nn.Module:
    channels = _check_channels(channels, at_least=2)
    strides = [2] * (len(channels) - 1)
    network = AttentionUnet(spatial_dims, in_channels, out_channels, channels, strides, dropout=dropout)
    return MonaiNetwork(network, spatial_dims, in_channels, 2 ** (len(channels) - 1), pad_to_multiple)


def _unet_plus_plus(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    channels: Sequence[int] = CHANNELS,
    deep_supervision: bool = False,
    act: str | tuple = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
    norm: str | tuple = INSTANCE,
    dropout: float = 0.0,
) -> nn.Module:
    channels = _check_channels(channels, at_least=5, at_most=5)
    network = BasicUNetPlusPlus(
        spatial_dims,
        in_channels,
        out_channels,
        features=(*channels, channels[0]),  # the sixth is the width after the last upsampling
        deep_supervision=deep_supervision,
        act=act,
        norm=norm,
        dropout=dropout,
    )
    if not deep_supervision:
        freeze(network.final_conv_0_1, network.final_conv_0_2, network.final_conv_0_3)
    return UNetPlusPlusNetwork(network, spatial_dims, in_channels, 16, pad_to_multiple, _is_instance(norm))


def _vnet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    act: str | tuple = ("elu", {"inplace": True}),
    dropout_prob_down: float | None = 0.5,
    dropout_prob_up: Sequence[float | None] = (0.5, 0.5),
) -> nn.Module:
    if 16 % in_channels:
        raise UserError(
            f"in_channels must divide 16 (1, 2, 4, 8 or 16), as V-Net adds its input to 16 channels, got {in_channels}:"
            " make colour images grey, or append a channel."
        )
    network = VNet(
        spatial_dims,
        in_channels,
        out_channels,
        act=act,
        dropout_prob_down=dropout_prob_down,
        dropout_prob_up=tuple(dropout_prob_up),
    )
    if spatial_dims == 2:
        _replace_3d_dropout(network)
    return MonaiNetwork(network, spatial_dims, in_channels, 16, pad_to_multiple)


def _unetr(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    img_size: Sequence[int] | int | None = None,
    feature_size: int = 16,
    hidden_size: int = 768,
    mlp_dim: int = 3072,
    num_heads: int = 12,
    norm: str | tuple = "instance",
    dropout: float = 0.0,
) -> nn.Module:
    if img_size is None:
        raise UserError("img_size is needed, the size of the images or windows, which UNETR cannot change later.")
    size = ensure_tuple_rep(img_size, spatial_dims)
    if pad_to_multiple:
        size = tuple(16 * math.ceil(length / 16) for length in size)
    if any(length < 16 or length % 16 for length in size):
        raise UserError(
            f"img_size must be multiples of 16, the size of a patch, got {list(size)}: choose one, or create the "
            "network with pad_to_multiple=True."
        )
    network = UNETR(
        in_channels,
        out_channels,
        size,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        norm_name=norm,
        dropout_rate=dropout,
        spatial_dims=spatial_dims,
    )
    for block in network.vit.blocks:
        freeze(block.norm_cross_attn)  # type: ignore[arg-type]
    return FixedSizeNetwork(network, in_channels, size, pad_to_multiple)


def _swin_unetr(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    feature_size: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: Sequence[int] | int = 7,
    norm: str | tuple = "instance",
    dropout: float = 0.0,
    use_v2: bool = False,
    use_checkpoint: bool = False,
) -> nn.Module:
    if feature_size < 12 or feature_size % 12:
        raise UserError(f"feature_size must be a multiple of 12, got {feature_size}.")
    network = SwinUNETR(
        in_channels,
        out_channels,
        feature_size=feature_size,
        depths=depths,
        num_heads=num_heads,
        window_size=window_size,
        norm_name=norm,
        drop_rate=dropout,
        use_v2=use_v2,
        use_checkpoint=use_checkpoint,
        spatial_dims=spatial_dims,
    )
    return MonaiNetwork(network, spatial_dims, in_channels, 32, pad_to_multiple, _is_instance(norm))


def _segresnet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    init_filters: int = 8,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] | None = None,
    act: str | tuple = ("RELU", {"inplace": True}),
    norm: str | tuple = ("GROUP", {"num_groups": 8}),
    dropout: float | None = None,
) -> nn.Module:
    """SegResNet doubles its width from level to level; ``blocks_up`` of None is one block a level."""
    ups = (1,) * (len(blocks_down) - 1) if blocks_up is None else tuple(blocks_up)
    if len(ups) != len(blocks_down) - 1:
        raise UserError(
            f"blocks_up must have one level less than blocks_down, got {list(ups)} for {list(blocks_down)}."
        )
    network = SegResNet(
        spatial_dims,
        init_filters,
        in_channels,
        out_channels,
        dropout_prob=dropout,
        act=act,
        norm=norm,
        blocks_down=tuple(blocks_down),
        blocks_up=ups,
    )
    return MonaiNetwork(
        network, spatial_dims, in_channels, 2 ** (len(blocks_down) - 1), pad_to_multiple, _is_instance(norm)
    )


def _dynunet(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    pad_to_multiple: bool,
    channels: Sequence[int] = CHANNELS,
    deep_supervision: bool = False,
    deep_supr_num: int = 1,
    res_block: bool = False,
    act: str | tuple = ("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
    norm: str | tuple = INSTANCE,
    dropout: float | None = None,
) -> nn.Module:
    channels = _check_channels(channels, at_least=3)
    halvings = [2] * (len(channels) - 1)
    network = DynUNet(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=[3] * len(channels),
        strides=[1, *halvings],
        upsample_kernel_size=halvings,
        filters=channels,
        dropout=dropout,
        norm_name=norm,
        act_name=act,
        deep_supervision=deep_supervision,
        deep_supr_num=deep_supr_num,
        res_block=res_block,
    )
    wrapper = DeepDynUNet if deep_supervision else MonaiNetwork
    return wrapper(network, spatial_dims, in_channels, 2 ** len(halvings), pad_to_multiple, _is_instance(norm))


_COMMON = ("spatial_dims", "in_channels", "out_channels", "pad_to_multiple")

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "pu_unet": PUUNet,
    "residual_unet": _residual_unet,
    "r2_unet": R2UNet,
    "ru_unet": _ru_unet,
    "original_unet": _original_unet,
    "unet": _unet,
    "unet3d": UNet3D,
    "segnet": SegNet,
    "transunet": TransUNet,
    "attention_unet": _attention_unet,
    "unet_plus_plus": _unet_plus_plus,
    "vnet": _vnet,
    "unetr": _unetr,
    "swin_unetr": _swin_unetr,
    "segresnet": _segresnet,
    "dynunet": _dynunet,
    "padded_unet": PaddedUNet,
}
