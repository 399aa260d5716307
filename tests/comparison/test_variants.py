from __future__ import annotations

import json

import pytest

from pu_unet_monai.comparison.variants import make_variants
from pu_unet_monai.errors import UserError

CONFIG = {
    "network_def": {
        "_target_": "pu_unet_monai.networks.nets.PUUNet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 1,
        "channels": "@channels",
        "placement": "@placement",
    }
}


def test_all_combinations_the_last_changing_fastest():
    variants = make_variants(["placement=none,all", "log_clip=10.0,None", "channels=[8,16]"], CONFIG)
    assert [variant.overrides for variant in variants] == [
        {"placement": placement, "log_clip": clip, "channels": [8, 16]}
        for placement in ("none", "all")
        for clip in (10.0, None)
    ]
    assert variants[1].name == "placement=none, log_clip=None, channels=[8,16]"
    assert variants[1].folder == "placement=none,log_clip=None,channels=8,16"


def test_commas_in_brackets_and_quotes_separate_nothing():
    (one, two) = make_variants(['loss={"_target_": "a.B", "weights": [1, 2]},"a, [b"'], CONFIG)
    assert one.overrides == {"loss": {"_target_": "a.B", "weights": [1, 2]}}
    assert two.overrides == {"loss": "a, [b"}


def test_networks_take_the_options_that_the_bundle_gives_and_that_they_have():
    pu_unet, r2_unet, segresnet = make_variants(
        ["network=pu_unet,r2_unet:attention=true:t=3,segresnet:blocks_down=[1,2]"], CONFIG
    )
    shared = {
        "_target_": "pu_unet_monai.networks.create_network",
        "pad_to_multiple": True,
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 1,
    }
    assert pu_unet.overrides["network_def"] == shared | {
        "name": "pu_unet",
        "channels": "@channels",
        "placement": "@placement",
    }
    assert r2_unet.overrides["network_def"] == shared | {
        "name": "r2_unet",
        "channels": "@channels",
        "attention": True,
        "t": 3,
    }
    assert segresnet.overrides["network_def"] == shared | {"name": "segresnet", "blocks_down": [1, 2]}
    (unetr,) = make_variants(["network=unetr"], CONFIG | {"roi_size": [32, 32, 32]})
    assert unetr.overrides["network_def"] == shared | {"name": "unetr", "img_size": "@roi_size"}
    assert r2_unet.folder == "r2_unet,attention=true,t=3"


def test_weights_are_told_what_network_they_are_of():
    config = CONFIG | {
        "trained_with": {"channels": "@channels", "placement": "@placement", "image_size": "@image_size"}
    }
    own, all_stages, other_act, other = make_variants(
        ["network=pu_unet,pu_unet:placement=all,pu_unet:act=relu,unet:channels=[8,16]"], config
    )
    facts = config["trained_with"]
    assert own.overrides["trained_with"] == facts
    assert all_stages.overrides["trained_with"] == facts | {"placement": "all"}
    assert other_act.overrides["trained_with"] == facts | {"network": "pu_unet:act=relu"}
    assert other.overrides["trained_with"] == facts | {"channels": [8, 16], "network": "unet:channels=[8,16]"}


def test_presets_are_laid_below_the_other_options():
    plain, original = make_variants(["preset=none,original_recipe", "placement=none"], CONFIG)
    assert (plain.preset, original.preset) == (None, "original_recipe")
    assert plain.overrides == original.overrides == {"placement": "none"}
    assert original.name == "preset=original_recipe, placement=none"


def test_long_names_make_short_folders_that_differ():
    values = [json.dumps({"_target_": "a.B", "weights": [*range(60), last]}) for last in (1, 2)]
    one, two = make_variants([f"loss={','.join(values)}"], CONFIG)
    assert one.folder != two.folder
    assert max(len(one.folder), len(two.folder)) < 120


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (["placement"], "--vary placement: expected KEY=a,b,c"),
        (["placement=none,,all"], "--vary placement=none,,all: expected KEY=a,b,c"),
        (["=none"], "expected KEY=a,b,c"),
        (["placement=none", "placement=all"], "--vary placement: given 2 times"),
        (["placement=none,none"], "placement=none, placement=none: the same twice"),
        (["network=Unet3000"], "there is no network 'Unet3000'"),
        (["network=r2_unet:attention"], "expected name:option=value"),
        (["network=unet:in_channels=1"], "unet:in_channels=1: network unet has no option in_channels; its options are"),
        (["network=unet:name=vnet"], "has no option name"),
        (["network=r2_unet:t=2:t=3"], "t is given twice"),
        (["learning_rate=0.001,1e-3"], "learning_rate=0.001 and learning_rate=1e-3 are the same"),
        (["placement=", "network=nothing"], "--vary placement=: .*; there is no network 'nothing'"),
    ],
)
def test_mistakes_are_named_all_at_once(vary, message):
    with pytest.raises(UserError, match=message) as error:
        make_variants(vary, CONFIG)
    assert str(error.value).count("\n") == 0
