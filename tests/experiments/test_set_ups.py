"""The configurations of the set-ups, against the bundle that they lie over."""

from __future__ import annotations

import json
import re

import pytest
import torch
from monai.bundle import ConfigParser

from experiments.brain_report.set_ups import BUNDLE, CONFIGS, SET_UPS, config_files

REPLACED = {
    "train#handlers#1": "pu_unet_monai.handlers.MemoryEstimate",
    "train#preprocessing#transforms#9": "CropForegroundd",
    "train#preprocessing#transforms#10": "pu_unet_monai.transforms.NormalizeForegroundd",
    "train#preprocessing#transforms#11": "RandCropByPosNegLabeld",
    "validate#preprocessing#transforms#7": "CropForegroundd",
}
"""What the overlays replace in the bundle by its position."""


def parser_of(name: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(config_files(name))
    return parser


def test_overlays_replace_what_they_mean_to():
    bundle = ConfigParser.load_config_file(BUNDLE / "configs" / "train.json")
    keys = {key for path in CONFIGS.glob("*.json") for key in json.loads(path.read_text())}
    positions = {match[0] for key in keys if (match := re.match(r".*#\d+", key))}
    assert positions == REPLACED.keys()
    parser = ConfigParser(bundle)
    assert {position: parser[position]["_target_"] for position in positions} == REPLACED


@pytest.mark.parametrize(("name", "parameters"), [("slices", 5_403_108), ("minicubes", 351_484)])
def test_networks(name, parameters):
    network = parser_of(name).get_parsed_content("network_def")
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.bottleneck) == (3 if name == "slices" else 6)  # convolution, norm and activation, once or twice


def test_context_and_the_report_recipe_change_nothing_else():

    loss, intensities, norm = "loss", "train#preprocessing#transforms#10", "network_def#norm"
    plain = parser_of("minicubes")
    for name, changed in {
        "minicubes_context": ["margin"],
        "report_recipe": [loss, intensities, norm],
        "report_our_loss": [intensities, norm],
        "report_z_scores": [loss, norm],
        "report_norm_layers": [loss, intensities],
    }.items():
        other = parser_of(name)
        for key in changed:
            assert other[key] != plain[key]
            other[key] = plain[key]
        assert other.get() == plain.get()


def test_windows_of_the_report():
    assert parser_of("slices").get_parsed_content("roi_size") == [192, 192]
    assert parser_of("minicubes").get_parsed_content("roi_size") == [96, 96, 80]
    assert parser_of("minicubes_context").get_parsed_content("roi_size") == [116, 116, 100]


def test_report_loss_is_its_equation():
    """1 - (2 |p y| + 1) / (|p| + |y| + 1), by class and minicube, the mean of both (equation 1)."""
    loss = parser_of("report_recipe").get_parsed_content("loss")
    truth = torch.tensor([[[[0, 0, 1, 3]]], [[[0, 0, 0, 0]]]])  # (2 minicubes, 1, 1, 4)
    predicted = torch.zeros_like(truth)  # background everywhere
    logits = 100.0 * torch.nn.functional.one_hot(predicted[:, 0], 4).movedim(-1, 1)
    first = [1 - (2 * 2 + 1) / (4 + 2 + 1), 1 - 1 / (1 + 1), 0, 1 - 1 / (1 + 1)]
    assert float(loss(logits, truth)) == pytest.approx((sum(first) + 0) / 8)


def test_every_set_up_has_its_overlays():
    used = {overlay for set_up in SET_UPS.values() for overlay in set_up.overlays}
    assert used | {"common", "predictions"} == {path.stem for path in CONFIGS.glob("*.json")}
