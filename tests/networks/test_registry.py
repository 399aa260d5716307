from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import (
    UNETR,
    AttentionUnet,
    BasicUNetPlusPlus,
    DynUNet,
    SegResNet,
    SwinUNETR,
    UNet,
    VNet,
)
from torch import nn

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks import create_network, list_networks, network_options
from pu_unet_monai.networks.nets import OriginalUNet, PaddedUNet, PUUNet, R2UNet, SegNet, TransUNet, UNet3D

OF_MONAI = ("unet", "attention_unet", "unet_plus_plus", "vnet", "unetr", "swin_unetr", "segresnet", "dynunet")
TINY: dict[str, dict[str, Any]] = {
    "pu_unet": {"channels": (8, 16)},
    "residual_unet": {"channels": (8, 16)},
    "r2_unet": {"channels": (8, 16)},
    "ru_unet": {"channels": (8, 16)},
    "original_unet": {"channels": (4, 8)},
    "unet": {"channels": (4, 8, 16)},
    "unet3d": {"channels": (4, 8, 16)},
    "segnet": {"channels": (4, 8)},
    "transunet": {
        "channels": (4, 4, 8, 8, 16),
        "blocks": (1, 1, 1),
        "hidden_size": 12,
        "num_layers": 1,
        "num_heads": 3,
        "mlp_dim": 16,
        "image_size": 32,
        "norm": ("GROUP", {"num_groups": 2}),
    },
    "attention_unet": {"channels": (4, 8, 16)},
    "unet_plus_plus": {"channels": (4, 4, 8, 8, 16)},
    "vnet": {},
    "unetr": {"img_size": 32, "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 3},
    "swin_unetr": {"feature_size": 12},
    "segresnet": {"blocks_down": (1, 1, 1)},
    "dynunet": {"channels": (4, 8, 16)},
    "padded_unet": {"channels": (4, 8)},
}


def create(name: str, in_channels: int = 2, **options: Any) -> nn.Module:
    return create_network(name, in_channels=in_channels, **(TINY[name] | options))


def size_of(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape) for key, value in network.state_dict().items()]


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_names() -> None:
    assert list_networks() == list(TINY)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("spatial_dims", [2, 3])
@torch.no_grad()
def test_every_network_keeps_the_size(name: str, spatial_dims: int) -> None:
    size = [32] * spatial_dims if name == "unetr" else [9, 11, 5][:spatial_dims]
    with torch.device("meta" if name == "vnet" else "cpu"):  # 45 M parameters
        network = create(name, spatial_dims=spatial_dims, out_channels=3, pad_to_multiple=True).eval()
        assert network(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


OWN_WIDTHS = ("original_unet", "segnet", "transunet")  # those of their papers


@pytest.mark.parametrize("name", [name for name in TINY if "channels" in TINY[name] and name not in OWN_WIDTHS])
def test_widths_by_default(name: str) -> None:
    """All other networks that have a width for each resolution begin with the same ones."""
    expected = create_network(name, channels=(32, 64, 128, 256, 512))
    assert size_of(create_network(name)) == size_of(expected)


@torch.no_grad()
def test_original_unet_keeps_the_size_on_request() -> None:
    x = image(1, 2, 24, 30)
    assert create("original_unet").eval()(x).shape == (1, 1, 8, 14)
    for options in ({"pad_to_multiple": True}, {"same_size": True}):
        assert create("original_unet", **options).eval()(x).shape == (1, 1, 24, 30)


def test_options_are_those_of_the_network() -> None:
    assert network_options("pu_unet") == (
        "channels", "placement", "positivity", "log_clip", "act", "norm", "use_checkpoint",
    )  # fmt: skip
    assert network_options("residual_unet") == ("channels", "act", "norm", "use_checkpoint")
    assert network_options("attention_unet") == ("channels", "dropout")
    assert "channels" not in network_options("vnet")
    for name in ("unet_plus_plus", "dynunet"):
        assert "deep_supervision" in network_options(name)


OWN = [
    ("pu_unet", {"placement": "all"}, PUUNet, {}),
    ("residual_unet", {"norm": "BATCH"}, PUUNet, {"placement": "none"}),
    ("r2_unet", {"separate_recurrent": True, "t": 1}, R2UNet, {}),
    ("ru_unet", {"attention": True, "norm": "BATCH"}, R2UNet, {"residual": False}),
    ("original_unet", {"dropout": 0.1}, OriginalUNet, {"same_size": True}),
    ("unet3d", {"channels": (4, 8, 16)}, UNet3D, {}),
    ("segnet", {"act": "PRELU"}, SegNet, {}),
    ("transunet", TINY["transunet"], TransUNet, {}),
    ("padded_unet", {"bottleneck_convs": 1}, PaddedUNet, {}),
]


@pytest.mark.parametrize(("name", "options", "network", "fixed"), OWN, ids=[row[0] for row in OWN])
@torch.no_grad()
def test_own_networks(name: str, options: dict[str, Any], network: type[nn.Module], fixed: dict[str, Any]) -> None:
    options = {"channels": (8, 16)} | options
    found = create_network(name, 3, 4, 2, pad_to_multiple=True, **options).eval()
    expected = network(spatial_dims=3, in_channels=4, out_channels=2, **options, **fixed).eval()
    expected.load_state_dict(found.state_dict())
    x = image(1, 4, 5, 6, 7)
    torch.testing.assert_close(found(x), expected(x), rtol=0, atol=0)
    # what is not said is as in the class
    with torch.device("meta"):
        default = network(spatial_dims=2, in_channels=3, out_channels=1, **fixed)
        assert str(create_network(name, pad_to_multiple=True)) == str(default)


TRANSLATIONS = [
    (
        "unet",
        {"channels": [4, 8, 16], "num_res_units": 1, "act": "RELU", "norm": "BATCH"},
        lambda: UNet(2, 2, 3, (4, 8, 16), (2, 2), num_res_units=1, act="RELU", norm="BATCH"),
        (8, 12),
    ),
    ("attention_unet", {"channels": [4, 8, 16]}, lambda: AttentionUnet(2, 2, 3, (4, 8, 16), (2, 2)), (8, 12)),
    (
        "unet_plus_plus",
        {"channels": [4, 6, 8, 10, 12], "norm": "BATCH"},
        lambda: BasicUNetPlusPlus(2, 2, 3, (4, 6, 8, 10, 12, 4), norm="BATCH"),
        (16, 32),
    ),
    ("vnet", {"act": "RELU"}, lambda: VNet(2, 2, 3, act="RELU"), (16, 32)),
    (
        "unetr",
        {"img_size": [16, 32], "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 3, "norm": "batch"},
        lambda: UNETR(2, 3, (16, 32), 4, 12, 16, 3, norm_name="batch", spatial_dims=2),
        (16, 32),
    ),
    (
        "swin_unetr",
        {"feature_size": 12, "depths": [1, 1, 1, 1], "window_size": 4, "use_v2": True},
        lambda: SwinUNETR(2, 3, depths=(1, 1, 1, 1), window_size=4, feature_size=12, use_v2=True, spatial_dims=2),
        (32, 64),
    ),
    (
        "segresnet",
        {"init_filters": 8, "blocks_down": [1, 2, 1]},
        lambda: SegResNet(2, 8, 2, 3, blocks_down=(1, 2, 1), blocks_up=(1, 1)),
        (8, 12),
    ),
    (
        "dynunet",
        {"channels": [4, 8, 16, 16], "res_block": True, "norm": "BATCH", "act": "RELU"},
        lambda: DynUNet(
            2, 2, 3, [3] * 4, (1, 2, 2, 2), (2, 2, 2), (4, 8, 16, 16), None, "BATCH", "RELU", res_block=True
        ),
        (8, 16),
    ),
]


@pytest.mark.parametrize(("name", "options", "reference", "size"), TRANSLATIONS, ids=[row[0] for row in TRANSLATIONS])
@torch.no_grad()
def test_translation(name: str, options: dict[str, Any], reference: Any, size: tuple[int, ...]) -> None:
    """The same as MONAI's own class with its own words, to the last bit, with its weights in ``network``."""
    expected = reference().eval()
    network = create_network(name, 2, 2, 3, **options).eval()
    network.network.load_state_dict(expected.state_dict())
    x = image(2, 2, *size)
    y = expected(x)
    torch.testing.assert_close(network(x), y[-1] if isinstance(y, list) else y, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in OF_MONAI if name != "unetr"])
@torch.no_grad()
def test_padding_replicates_the_far_edges(name: str) -> None:
    padding, plain = (create(name, pad_to_multiple=pad).eval() for pad in (True, False))
    plain.load_state_dict(padding.state_dict())
    multiple = plain.size_multiple
    x = image(1, 2, 2 * multiple, multiple)
    torch.testing.assert_close(padding(x), plain(x), rtol=0, atol=0)
    x[:, :, -3:] = x[:, :, -4:-3]
    expected = plain(x)[:, :, :-3]
    torch.testing.assert_close(padding(x[:, :, :-3]), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "multiple"),
    [("unet", 4), ("attention_unet", 4), ("unet_plus_plus", 16), ("vnet", 16), ("swin_unetr", 32), ("segresnet", 4),
     ("dynunet", 4)],
)  # fmt: skip
@torch.no_grad()
def test_sizes_that_do_not_fit(name: str, multiple: int) -> None:
    network = create(name).eval()
    assert network(image(1, 2, multiple, 2 * multiple)).shape == (1, 1, multiple, 2 * multiple)
    message = rf"multiples of {multiple} only, got \[{2 * multiple}, {multiple + 2}\].* pad_to_multiple=True"
    with pytest.raises(UserError, match=message):
        network(image(1, 2, 2 * multiple, multiple + 2))


@pytest.mark.parametrize("name", ["unet", "unet_plus_plus", "swin_unetr", "dynunet"])
@torch.no_grad()
def test_one_voxel_at_the_lowest_resolution(name: str) -> None:
    """Instance norm cannot take one, which MONAI shows; padding makes it two."""
    network = create(name).eval()
    multiple = network.size_multiple
    x = image(1, 2, multiple, multiple)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        network.network(x)
    with pytest.raises(UserError, match=rf"one voxel .* at least {2 * multiple}"):
        network(x)
    network.pad = True
    assert network(x).shape == (1, 1, multiple, multiple)
    torch.testing.assert_close(
        network(x), network(torch.cat([x, x[..., -1:].expand_as(x)], -1))[..., :multiple], rtol=0, atol=0
    )


@pytest.mark.parametrize("name", ["attention_unet", "vnet", "segresnet"])
@torch.no_grad()
def test_one_voxel_is_enough_for_other_norms(name: str) -> None:
    network = create(name).eval()
    x = image(1, 2, network.size_multiple, network.size_multiple)
    y = network(x)
    network.pad = True
    torch.testing.assert_close(network(x), y, rtol=0, atol=0)


@pytest.mark.parametrize(("pad", "sizes"), [(True, [(33, 16), (5, 17)]), (False, [(32, 32), (16, 16), (31, 16)])])
def test_unetr_takes_one_size(pad: bool, sizes: list[tuple[int, int]]) -> None:
    network = create("unetr", img_size=[32, 16], pad_to_multiple=pad)
    for size in sizes:
        with pytest.raises(UserError, match=rf"size \[32, 16\] only .* got \[{size[0]}, {size[1]}\]: .*sliding win"):
            network(image(1, 2, *size))


@torch.no_grad()
def test_unetr_pads_smaller_images() -> None:
    network = create("unetr", img_size=[30, 10], pad_to_multiple=True).eval()
    assert network.size == [32, 16]
    x = image(1, 2, 31, 13)
    expected = network(x[:, :, [*range(31), 30]][..., [*range(13), 12, 12, 12]])[:, :, :31, :13]
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", OF_MONAI)
def test_input_is_checked(name: str) -> None:
    network = create(name)
    with pytest.raises(UserError, match=r"2 channels, 2 spatial dimensions\), got \[1, 3, 32, 32\]"):
        network(image(1, 3, 32, 32))
    with pytest.raises(UserError, match=r"2 spatial dimensions\), got \[1, 2, 32, 32, 32\]"):
        network(image(1, 2, 32, 32, 32))


DEEP = {
    "unet_plus_plus": (4, {"deep_supervision": True}),
    "dynunet": (3, {"channels": (4, 8, 16, 16), "deep_supervision": True, "deep_supr_num": 2}),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_supervision(name: str) -> None:
    number, options = DEEP[name]
    network = create(name, out_channels=3, pad_to_multiple=True, **options)
    x = image(2, 2, 40, 36)  # which the padding makes larger
    outputs = network.train()(x)
    assert isinstance(outputs, list)
    assert [tuple(y.shape) for y in outputs] == [(2, 3, 40, 36)] * number
    assert all(not torch.equal(outputs[0], y) for y in outputs[1:])
    y = network.eval()(x)
    torch.testing.assert_close(y, outputs[0])  # instance norm, no dropout: the same in both modes
    plain = create(name, out_channels=3, pad_to_multiple=True, **(options | {"deep_supervision": False})).train()
    assert isinstance(plain(x), torch.Tensor)
    # Each output has weights of its own: its gradient reaches its own head and no other.
    reached = []
    for output in network.train()(x):
        network.zero_grad()
        output.sum().backward(retain_graph=True)
        reached.append(frozenset(n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()))
    heads = [frozenset(n for n in names if "final_conv" in n or "head" in n) for names in reached]
    assert len(set(heads)) == number


@torch.no_grad()
def test_deep_supervision_order_of_unet_plus_plus() -> None:
    """The main output, x_0_4 of the paper's figure 1, first."""
    network = create("unet_plus_plus", deep_supervision=True).train()
    x = image(1, 2, 32, 32)
    for found, expected in zip(network(x), reversed(network.network(x)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@torch.no_grad()
def test_deep_supervision_of_dynunet_is_that_of_monai() -> None:
    network = create("dynunet", **DEEP["dynunet"][1]).train()
    x = image(2, 2, 16, 24)
    stacked = network.network(x)
    assert stacked.shape == (2, 3, 1, 16, 24)
    for found, expected in zip(network(x), stacked.unbind(1), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_dynunet_can_be_copied_and_exported_while_it_trains() -> None:
    network = create("dynunet", **DEEP["dynunet"][1]).train()
    x = image(2, 2, 16, 24)
    expected = network(x)
    assert all(torch.equal(a, b) for a, b in zip(copy.deepcopy(network)(x), expected, strict=True))
    torch.export.export(network.eval(), (x,))
    assert all(torch.equal(a, b) for a, b in zip(network.train()(x), expected, strict=True))


@pytest.mark.parametrize("name", OF_MONAI)
def test_parameters_that_no_output_needs_are_frozen(name: str) -> None:
    """Training on several devices waits for the gradient of every parameter that wants one."""
    network = create(name, **({"hidden_size": 12} if name == "unetr" else {})).train()
    network(image(2, 2, 32, 32) if name == "unetr" else image(2, 2, 32, 64)).square().mean().backward()
    assert [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    frozen = {key.rpartition(".")[0].rpartition(".")[2] for key, p in network.named_parameters() if not p.requires_grad}
    expected = {
        "unetr": {"norm_cross_attn"},
        "unet_plus_plus": {"final_conv_0_1", "final_conv_0_2", "final_conv_0_3"},
    }
    assert frozen == expected.get(name, set())


def test_vnet_drops_channels_and_no_images() -> None:
    """MONAI's V-Net has 3D dropout in 2D too, which takes the images of a batch for channels and drops them whole."""
    for spatial_dims, kind in ((2, nn.Dropout2d), (3, nn.Dropout3d)):
        with torch.device("meta"):
            network = create("vnet", spatial_dims=spatial_dims)
        dropouts = [module for module in network.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
        assert len(dropouts) == 2 + 2 + 4
        assert all(isinstance(module, kind) and module.p == 0.5 for module in dropouts)
    x = torch.ones(64, 16, 4, 4)
    of_monai, ours = VNet(2).down_tr128, create("vnet").network.down_tr128
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # one batch in a thousand would lose all 16 channels of an image
        dropped = [(block.dropout(x) == 0).flatten(1).all(1).sum() for block in (of_monai.train(), ours.train())]
    assert dropped[0] > 10
    assert dropped[1] == 0


@pytest.mark.parametrize("in_channels", [1, 2, 4, 8, 16])
def test_vnet_takes_divisors_of_16(in_channels: int) -> None:
    network = create("vnet", in_channels=in_channels, out_channels=1).eval()
    with torch.no_grad():
        assert network(image(1, in_channels, 16, 16)).std() > 0  # one output channel is no constant


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "no network 'unett': did you mean unet or unetr"),
        ("U-Net", {}, "no network 'U-Net': did you mean unet"),
        ("resnet", {}, r"no network 'resnet': .*Known are pu_unet, residual_unet, .*padded_unet\.$"),
        ("xyz", {}, r"no network 'xyz': Known are pu_unet"),
        ("unet", {"chanels": (4, 8)}, r"unet has no option chanels \(did you mean channels\?\); its options are chan"),
        ("unet", {"foo": 1, "feature_size": 2}, "no option foo, feature_size; its options are channels, num_res_units"),
        ("vnet", {"channels": (4, 8)}, "vnet has no option channels; its options are act, dropout_prob_down"),
        ("residual_unet", {"placement": "all"}, "residual_unet has no option placement"),
        ("vnet", {"in_channels": 3}, r"vnet: in_channels must divide 16 .* got 3: make colour images grey"),
        ("vnet", {"spatial_dims": 1}, "vnet: spatial_dims must be 2 or 3, got 1"),
        ("unet", {"spatial_dims": 4}, "unet: spatial_dims must be 2 or 3, got 4"),
        ("unet", {"out_channels": 0}, "unet: out_channels must be at least 1, got 0"),
        ("unet", {"channels": (8,)}, r"unet: channels must give a width for at least 2 resolutions, got \[8\]"),
        ("unet", {"channels": 8}, "unet: channels must be a list of positive whole numbers, got 8"),
        ("attention_unet", {"channels": (8, 0)}, r"positive whole numbers, got \(8, 0\)"),
        ("unet_plus_plus", {"channels": (4, 8)}, r"unet_plus_plus: .* for 5 resolutions, got \[4, 8\]"),
        ("unet_plus_plus", {"channels": (4,) * 6}, "for 5 resolutions"),
        ("dynunet", {"channels": (4, 8)}, "dynunet: .* at least 3 resolutions"),
        ("dynunet", {"deep_supervision": True, "deep_supr_num": 2}, "dynunet: deep_supr_num should be less than"),
        ("swin_unetr", {"feature_size": 16}, "swin_unetr: feature_size must be a multiple of 12, got 16"),
        ("segresnet", {"blocks_up": (1,)}, r"segresnet: blocks_up must .* got \[1\] for \[1, 1, 1\]"),
        ("unetr", {"img_size": None}, "unetr: img_size is needed"),
        ("unetr", {"img_size": 40}, r"unetr: img_size must be multiples of 16, the size of a patch, got \[40, 40\]"),
        ("unetr", {"img_size": (32, 32, 32)}, "unetr: .*length 2"),
        ("unetr", {"num_heads": 5}, "unetr: hidden_size should be divisible by num_heads"),
        ("pu_unet", {"placement": "low"}, "pu_unet: placement must be one of none"),
        ("pu_unet", {"norm": ("GROUP", 8)}, r"norm \('GROUP', 8\): expected a name, or a name and options such as"),
        ("pu_unet", {"norm": ("GROUP", {"num_groups": 0})}, "pu_unet: norm .*: expected a name, or a name and options"),
        ("padded_unet", {"norm": ("GROUP", {"num_groups": 3})}, "padded_unet: channels .* does not divide"),
        # what MONAI and PyTorch say of it
        ("unet", {"norm": "FOO"}, "unet: Unsupported option 'FOO'"),
        ("unet", {"norm": ("BATCH", {"foo": 1})}, "unet: .* unexpected keyword argument 'foo'"),
        ("swin_unetr", {"num_heads": (3, 6)}, "swin_unetr: tuple index out of range"),
        ("segnet", {"channels": 8}, "segnet: "),
    ],
)  # fmt: skip
def test_wrong_use(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        create_network(name, **({"in_channels": 2} | TINY.get(name, {}) | options))
    assert "\n" not in str(raised.value)


def test_in_a_configuration() -> None:
    parser = ConfigParser(
        {
            "channels": [8, 16],
            "network_def": {
                "_target_": "pu_unet_monai.networks.create_network",
                "name": "unet",
                "spatial_dims": 3,
                "pad_to_multiple": True,
                "channels": "@channels",
                "norm": ["GROUP", {"num_groups": 4}],
            },
        }
    )
    network = parser.get_parsed_content("network_def")
    assert network(image(1, 3, 5, 6, 7)).shape == (1, 1, 5, 6, 7)


def test_options_of_an_unknown_network() -> None:
    with pytest.raises(UserError, match="no network 'pu_net': did you mean pu_unet"):
        network_options("pu_net")


def test_published_parameters() -> None:
    """Swin UNETR of feature size 48 with 14 organs, as its authors count it: 62.19 M."""
    network = create_network("swin_unetr", 3, 1, 14, feature_size=48)
    assert sum(p.numel() for p in network.parameters()) == 62_187_296
