"""TransUNet: a transformer between a convolutional encoder and a U-Net's decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer
from monai.networks.nets.resnet import ResNetBottleneck
from monai.utils import ensure_tuple_rep

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.blocks.group_norm import get_norm_layer
from pu_unet_monai.networks.blocks.network_input import check_input, crop_to, pad_to_multiple
from pu_unet_monai.networks.blocks.network_options import check_network_options

__all__ = ["TransUNet"]

STRIDE = 16


class TransUNet(nn.Module):
    """TransUNet of Chen et al. (2021), section 3 and figure 1, in its hybrid form R50-ViT.

    - Encoder: a ResNet-50 up to 1/16 of the size: a convolution of size 7 and stride 2, max pooling, and three stages
      of bottleneck blocks with GroupNorm. The blocks of its fourth stage stand in the third, as in ViT's hybrids.
    - Transformer: every pixel at 1/16 is a token, by a convolution of size 1; a learned position embedding is added,
      resized linearly to the image's grid; ``num_layers`` blocks and a layer norm follow (equations 1 to 3).
    - Decoder (cascaded upsampler): a convolution at 1/16, then four times linear upsampling by 2, concatenation of the
      encoder's features at 1/8, 1/4 and 1/2, and two convolutions of size 3, each with norm and activation; a
      convolution of size 3 at the end.

    With the defaults, R50-ViT-B/16 for 3 channels in and 1 out, it has 105,275,921 parameters. From the paper's own
    network it differs in that nothing is pre-trained (the paper starts both parts from ImageNet weights), the encoder's
    convolutions are not weight-standardised, and its blocks activate after the addition. The widths of the decoder are
    figure 1's; norms and biases of the decoder, which the paper does not name, are batch normalisation and none. In
    3D, of which the paper does not speak, every layer is its 3D counterpart.

    Args:
        spatial_dims: number of spatial dimensions, 2 or 3. Defaults to 2.
        in_channels: number of input channels. Defaults to 3.
        out_channels: number of output channels (logits). Defaults to 1.
        channels: width of the decoder at each of the five resolutions, from full to 1/16. The encoder has the same at
            1/2, and twice as many from there on, half as many inside its blocks. Defaults to (16, 64, 128, 256, 512).
        blocks: number of bottleneck blocks in each stage of the encoder. Defaults to (3, 4, 9).
        hidden_size: width of a token. Defaults to 768.
        num_layers: number of transformer blocks. Defaults to 12.
        num_heads: number of attention heads. Defaults to 12.
        mlp_dim: width inside a transformer block's MLP. Defaults to 3072.
        image_size: size of the images, in pixels, whose grid the position embedding has; others are taken too.
            Defaults to 224.
        dropout: rate of dropout in the transformer. Defaults to 0.
        norm: normalisation in the encoder, as MONAI's factories take it. Defaults to GroupNorm with 32 groups.
        decoder_norm: normalisation in the decoder. Defaults to batch normalisation.

    Shape:
        Input (B, in_channels, *spatial) of any spatial size: it is padded by replication to the next multiple of 16
        and the output cropped back. Output (B, out_channels, *spatial), logits. The attention's time and memory grow
        with the square of the number of tokens.

    Raises:
        UserError: if an option is not one of those listed, the norm's groups do not divide a width, or an input does
            not have the dimensions or channels that the network takes.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (16, 64, 128, 256, 512),
        blocks: Sequence[int] = (3, 4, 9),
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_dim: int = 3072,
        image_size: Sequence[int] | int = 224,
        dropout: float = 0.0,
        norm: str | tuple = ("GROUP", {"num_groups": 32}),
        decoder_norm: str | tuple = "BATCH",
    ) -> None:
        super().__init__()
        _check_options(spatial_dims, channels, blocks, norm, decoder_norm)
        if hidden_size % num_heads:
            raise UserError(f"num_heads must divide hidden_size={hidden_size}, got {num_heads}.")
        grid = [-(-length // STRIDE) for length in ensure_tuple_rep(image_size, spatial_dims)]
        if min(grid) < 1:
            raise UserError(f"image_size must be positive, got {image_size}.")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.size_multiple = STRIDE
        self.interpolation = "bilinear" if spatial_dims == 2 else "trilinear"

        conv = Conv[Conv.CONV, spatial_dims]
        full, *widths = channels
        features = [widths[0], *(2 * width for width in widths[1:])]  # of the encoder, at 1/2 to 1/16
        self.stem = nn.Sequential(
            conv(in_channels, features[0], kernel_size=7, stride=2, padding=3, bias=False),
            get_norm_layer(norm, spatial_dims, features[0]),
            get_act_layer("RELU"),
        )
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=3, stride=2, padding=1)
        self.stages = nn.ModuleList(
            _stage(spatial_dims, features[i], features[i + 1], number, stride=1 if i == 0 else 2, norm=norm)
            for i, number in enumerate(blocks)
        )

        self.embedding = conv(features[-1], hidden_size, kernel_size=1)
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, hidden_size, *grid), std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.ModuleList(
            TransformerBlock(hidden_size, mlp_dim, num_heads, dropout, qkv_bias=True) for _ in range(num_layers)
        )
        for block in self.transformer:
            block.norm_cross_attn = nn.Identity()  # MONAI makes one also without cross-attention, and never uses it
        self.norm = nn.LayerNorm(hidden_size)

        def double_conv(in_channels: int, out_channels: int, convs: int = 2) -> nn.Sequential:
            layers: list[nn.Module] = []
            for number in range(convs):
                layers += [
                    conv(out_channels if number else in_channels, out_channels, kernel_size=3, padding=1, bias=False),
                    get_norm_layer(decoder_norm, spatial_dims, out_channels),
                    get_act_layer("RELU"),
                ]
            return nn.Sequential(*layers)

        self.bottleneck = double_conv(hidden_size, channels[-1], convs=1)
        self.up = nn.Upsample(scale_factor=2, mode=self.interpolation)
        self.decoders = nn.ModuleList(
            double_conv(channels[i + 1] + (features[i - 1] if i else 0), channels[i]) for i in (3, 2, 1, 0)
        )
        self.head = conv(full, out_channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of ``x``."""
        check_input(x, self.in_channels, self.spatial_dims)
        x, size = pad_to_multiple(x, self.size_multiple)
        x = self.stem(x)
        skips = [x]
        x = self.pool(x)
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        x = self.bottleneck(self._transform(skips.pop()))
        for decoder in self.decoders:
            x = self.up(x)
            if len(skips) > 0:
                x = torch.cat([skips.pop(), x], dim=1)
            x = decoder(x)
        return crop_to(self.head(x), size)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        """Let all pixels of the coarsest features attend to each other."""
        x = self.embedding(x)
        # also where the grids agree, for which it changes nothing, so that an exported program takes any size
        x = x + F.interpolate(self.position, size=x.shape[2:], mode=self.interpolation)
        tokens = self.dropout(x.flatten(2).transpose(1, 2))
        for block in self.transformer:
            tokens = block(tokens)
        # of strides that view() knows: what reshape() asks of them, an exported program would keep for all sizes
        return self.norm(tokens).transpose(1, 2).contiguous().view(x.shape)


def _stage(
    spatial_dims: int, in_channels: int, out_channels: int, number: int, stride: int, norm: str | tuple
) -> nn.Sequential:
    inside = out_channels // ResNetBottleneck.expansion
    shortcut = nn.Sequential(
        Conv[Conv.CONV, spatial_dims](in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        get_norm_layer(norm, spatial_dims, out_channels),
    )
    return nn.Sequential(
        ResNetBottleneck(in_channels, inside, spatial_dims, stride, shortcut, norm=norm),
        *(ResNetBottleneck(out_channels, inside, spatial_dims, norm=norm) for _ in range(number - 1)),
    )


def _check_options(
    spatial_dims: int, channels: Sequence[int], blocks: Sequence[int], norm: str | tuple, decoder_norm: str | tuple
) -> None:
    if len(channels) != 5:
        raise UserError(f"channels must give a width for 5 resolutions, full to 1/16, got {list(channels)}.")
    check_network_options(spatial_dims, channels, decoder_norm)
    odd = [width for width in channels[2:] if width % 2]
    if odd:
        raise UserError(f"channels from the third on must be even, as blocks have half of them inside, got {odd}.")
    check_network_options(spatial_dims, [channels[1], *(width // 2 for width in channels[2:])], norm)
    if len(blocks) != 3 or min(blocks) < 1:
        raise UserError(f"blocks must give at least 1 block for each of 3 stages, got {list(blocks)}.")
