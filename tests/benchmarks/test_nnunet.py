from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from benchmarks import nnunet
from data_prep import volume_phantom
from pu_unet_monai.networks.nets import PUUNet


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    arguments = ["--image", str(tmp_path / "no.nii.gz"), "--label", str(tmp_path), "--output", str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", {"nnunetv2": None}.__getitem__)
    assert nnunet.main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: nnunetv2 is not installed: pip install -c constraints.txt -e '.[nnunet]'.\n"
    )
    monkeypatch.setattr(importlib.util, "find_spec", {"nnunetv2": object()}.__getitem__)
    assert nnunet.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(tmp_path / "no.nii.gz") in message


def test_regions_in_the_order_of_painting() -> None:
    """The bundle's network gives TC, WT and ET; a voxel has the label that is painted last of all its regions."""
    torch.manual_seed(0)
    network = PUUNet(3, 4, 3, channels=(8, 16)).eval()
    image = torch.randn(1, 4, 8, 8, 8)
    with torch.no_grad():
        tumour_core, whole_tumour, enhancing = network(image)[0]
        reordered = nnunet.region_ordered(copy.deepcopy(network))(image)[0]
    assert torch.equal(reordered, torch.stack([whole_tumour, tumour_core, enhancing]))
    regions = [labels for name, labels in nnunet._LABELS.items() if name != "background"]
    for label in (1, 2, 3):
        painted = [paint for paint, labels in zip(nnunet._PAINTED, regions, strict=True) if label in labels]
        assert painted[-1] == label


def test_all_sides_on_a_phantom(repository: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")
    volume_phantom.make(tmp_path / "phantom", "decathlon", number=1, shape=(48, 40, 32))
    image, label = (next((tmp_path / "phantom" / part).glob("*.nii.gz")) for part in ("imagesTr", "labelsTr"))
    bundle = repository / "bundles" / "pu_unet_brats"
    arguments = ["--bundle", bundle, "--image", image, "--label", label, "--rounds", 1, "--output", tmp_path]
    assert nnunet.main([*map(str, arguments), "--patch-size", "48", "48", "48"]) == 0
    results = json.loads((tmp_path / "nnunet.json").read_text())
    sides = results["sides"]
    assert tuple(sides) == nnunet.SIDES
    mirrored, plain, ours, _ = sides.values()
    assert ours["dice_with_predict"]["WT"] == 1
    # a tile that holds the whole head sees nearly what one pass sees
    assert plain["dice_with_predict"]["WT"] > 0.7
    assert mirrored["cpu_seconds"][0] > plain["cpu_seconds"][0]
    assert results["parameters"] == 10_444_487
    assert (tmp_path / "nnunet.md").read_text().strip() == capsys.readouterr().out.strip()
