"""MONAI's networks through the suite, as ``create_network`` makes them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest

from pu_unet_monai.networks import create_network

from .base_tester import Abilities, NetworkCase, NetworkTester

NO_CHECKPOINT = "not in MONAI's class"
PLAIN = Abilities(checkpoint=NO_CHECKPOINT)


def case(
    name: str, options: dict[str, Any], parameters: int, id: str | None = None, in_channels: int = 2, **fields: Any
) -> NetworkCase:
    network = functools.partial(create_network, name, in_channels=in_channels, pad_to_multiple=True)
    fields = {"abilities": PLAIN} | fields
    return NetworkCase(id or name, network, options, parameters, in_channels=in_channels, **fields)


SIZE_3D = {"size": (18, 20, 17), "other_size": (20, 17, 22)}
CASES = [
    case("unet", {"channels": (4, 8, 16)}, 2_485),
    case("unet", {"spatial_dims": 3, "channels": (4, 8), "num_res_units": 1}, 1_708, "unet_3d", **SIZE_3D),
    case("attention_unet", {"channels": (4, 8, 16)}, 7_767),
    case("unet_plus_plus", {"channels": (4, 4, 4, 4, 4), "deep_supervision": True}, 7_552, training_outputs=4),
    case("vnet", {}, 9_358_324),
    case(
        "unetr",
        {"img_size": 32, "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 3},
        74_121,
        size=(32, 32),
        other_size=(32, 32),
        odd_sizes=((33, 7), (16, 48), (33, 64)),
        abilities=replace(PLAIN, any_size="a position embedding for one size"),
    ),
    case(
        "swin_unetr",
        {"feature_size": 12, "depths": (1, 1, 1, 1), "window_size": 2},
        1_426_258,
        checkpoint_keeps=0.85,  # MONAI recomputes its transformer blocks only
        abilities=Abilities(
            script="numpy, and checkpoints, in the forward pass",
            export_dynamic="each size of window and of shift is another branch of the forward pass",
        ),
    ),
    case("segresnet", {"blocks_down": (1, 1, 1)}, 36_841),
    case("dynunet", {"channels": (4, 8, 16)}, 7_501),
    case(
        "dynunet",
        {"spatial_dims": 3, "channels": (4, 4, 4, 8), "res_block": True, "deep_supervision": True, "deep_supr_num": 2},
        9_623,
        "dynunet_deep_3d",
        training_outputs=3,
        abilities=replace(PLAIN, script="the list of MONAI's heads does not compile"),
        **SIZE_3D,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestNetworks(NetworkTester):
    pass


def unpadded(case: NetworkCase) -> NetworkCase:
    multiple = case.create().size_multiple
    axes = len(case.size)
    return replace(
        case,
        options=case.options | {"pad_to_multiple": False},
        size=(2 * multiple,) * axes,
        other_size=(multiple,) * (axes - 1) + (2 * multiple,),
        odd_sizes=tuple((2 * multiple,) * (axes - 1) + (2 * multiple + rest,) for rest in (1, multiple // 2, -1)),
        abilities=replace(case.abilities, any_size="asked not to pad"),
    )


@pytest.mark.parametrize("name", ["test_sizes", "test_any_size", "test_script", "test_backward"])
@pytest.mark.parametrize("case", [case for case in CASES if case.id != "unetr"], ids=str)
def test_without_padding(case: NetworkCase, name: str) -> None:
    getattr(NetworkTester(), name)(unpadded(case))
