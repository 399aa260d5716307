from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import loading
from data_prep import volume_phantom


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "phantom"
    volume_phantom.make(folder, "decathlon", number=1, shape=(32, 36, 28))
    return next((folder / "imagesTr").glob("*.nii.gz"))


def test_results_of_a_synthetic_head(repository: Path, tmp_path: Path, capsys) -> None:
    bundle = repository / "bundles" / "pu_unet_brats"
    arguments = ["--bundle", bundle, "--rounds", 2, "--output", tmp_path / "found", "--size", 32, 36, 28]
    assert loading.main([*map(str, arguments)]) == 0
    results = json.loads((tmp_path / "found" / "loading.json").read_text())
    assert results["box"][0] == 4
    assert "torch" in results["machine"]
    for side in results["sides"].values():
        assert len(side["cpu"]) == len(side["wall"]) == 2
        assert min(side["wall"]) > 0
    for same in results["identical"].values():
        assert same == {"voxels": True, "box": True, "affine": True}
    assert [goal["goal"] for goal in results["goals"]] == ["at least 3x", "at least 10x"]
    assert all(goal.keys() == {"what", "goal", "measured", "met", "note"} for goal in results["goals"])
    assert (tmp_path / "found" / "loading.md").read_text().strip() == capsys.readouterr().out.strip()


def test_goal_is_met_by_the_whole_interval() -> None:
    times = {loading._MONAI: {"cpu": [8.0, 8.0, 4.0]}, loading._OURS: {"cpu": [2.0, 2.0, 2.0]}}
    goal = loading._goal(times, loading._OURS)
    assert (goal["measured"], goal["met"]) == ("4.0x (2.0 to 4.0)", False)
    times[loading._OURS]["cpu"] = [2.0, 2.0, 1.0]
    goal = loading._goal(times, loading._OURS)
    assert (goal["measured"], goal["met"]) == ("4.0x (4.0 to 4.0)", True)


def test_other_values_are_no_result(repository: Path, image: Path, monkeypatch) -> None:
    real = loading.bundle_chain

    def brighter(bundle: Path):
        chain = real(bundle)
        chain.transforms += (lambda item: item | {"image": item["image"] + 1e-6},)
        return chain

    monkeypatch.setattr(loading, "bundle_chain", brighter)
    with pytest.raises(RuntimeError, match=r"not the values of MONAI's transforms: .*'voxels': False"):
        loading.measure(repository / "bundles" / "pu_unet_brats", image, rounds=1)


def test_cached_item_is_a_copy(repository: Path, image: Path) -> None:
    """As a training gets it: what it does to the item must not reach the cache."""
    dataset = loading.cached(loading.bundle_chain(repository / "bundles" / "pu_unet_brats"), image)
    first = dataset[0]["image"]
    kept = first.clone()
    first += 1
    assert torch.equal(dataset[0]["image"], kept)
